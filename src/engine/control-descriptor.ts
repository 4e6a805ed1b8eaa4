/** Generated from proto/control.proto by proto/generate.mjs; a test checks that the two agree. */
// biome-ignore format: generated
export const controlDescriptor = {
 "nested": {
  "futago": {
   "nested": {
    "control": {
     "nested": {
      "Request": {
       "oneofs": {
        "command": {
         "oneof": [
          "attach",
          "detach",
          "connect",
          "disconnect",
          "primary",
          "secondary",
          "invalidate",
          "invalidateRemote",
          "outdate",
          "pauseSync",
          "resumeSync",
          "down",
          "status",
          "watch",
          "waitConnect",
          "waitSync",
          "generation",
          "version"
         ]
        }
       },
       "fields": {
        "id": {"type":"uint32","id":1},
        "attach": {"type":"Attach","id":10},
        "detach": {"type":"Detach","id":11},
        "connect": {"type":"Connect","id":12},
        "disconnect": {"type":"Disconnect","id":13},
        "primary": {"type":"Primary","id":14},
        "secondary": {"type":"Secondary","id":15},
        "invalidate": {"type":"Invalidate","id":16},
        "invalidateRemote": {"type":"InvalidateRemote","id":17,"protoName":"invalidate_remote"},
        "outdate": {"type":"Outdate","id":18},
        "pauseSync": {"type":"PauseSync","id":19,"protoName":"pause_sync"},
        "resumeSync": {"type":"ResumeSync","id":20,"protoName":"resume_sync"},
        "down": {"type":"Down","id":21},
        "status": {"type":"Status","id":30},
        "watch": {"type":"Watch","id":31},
        "waitConnect": {"type":"WaitConnect","id":32,"protoName":"wait_connect"},
        "waitSync": {"type":"WaitSync","id":33,"protoName":"wait_sync"},
        "generation": {"type":"Generation","id":34},
        "version": {"type":"Version","id":35}
       }
      },
      "Attach": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "Detach": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {
        "volume": {"type":"uint32","id":1,"options":{"proto3_optional":true}},
        "force": {"type":"bool","id":2}
       }
      },
      "Connect": {
       "fields": {
        "discardMyData": {"type":"bool","id":1,"protoName":"discard_my_data"},
        "tentative": {"type":"bool","id":2}
       }
      },
      "Disconnect": {"fields":{"force":{"type":"bool","id":1}}},
      "Primary": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {
        "volume": {"type":"uint32","id":1,"options":{"proto3_optional":true}},
        "force": {"type":"bool","id":2}
       }
      },
      "Secondary": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "Invalidate": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "InvalidateRemote": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "Outdate": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "PauseSync": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "ResumeSync": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {"volume":{"type":"uint32","id":1,"options":{"proto3_optional":true}}}
      },
      "Down": {"fields":{"force":{"type":"bool","id":1}}},
      "Status": {"fields":{}},
      "Watch": {"fields":{}},
      "WaitConnect": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {
        "volume": {"type":"uint32","id":1,"options":{"proto3_optional":true}},
        "wfcTimeout": {"type":"uint32","id":2,"protoName":"wfc_timeout"},
        "degrWfcTimeout": {"type":"uint32","id":3,"protoName":"degr_wfc_timeout"},
        "outdatedWfcTimeout": {"type":"uint32","id":4,"protoName":"outdated_wfc_timeout"},
        "waitAfterSb": {"type":"bool","id":5,"protoName":"wait_after_sb"}
       }
      },
      "WaitSync": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {
        "volume": {"type":"uint32","id":1,"options":{"proto3_optional":true}},
        "wfcTimeout": {"type":"uint32","id":2,"protoName":"wfc_timeout"},
        "degrWfcTimeout": {"type":"uint32","id":3,"protoName":"degr_wfc_timeout"},
        "outdatedWfcTimeout": {"type":"uint32","id":4,"protoName":"outdated_wfc_timeout"},
        "waitAfterSb": {"type":"bool","id":5,"protoName":"wait_after_sb"}
       }
      },
      "Generation": {"fields":{"volume":{"type":"uint32","id":1}}},
      "Version": {"fields":{}},
      "Reply": {
       "oneofs": {
        "body": {"oneof":["result","state","waited","generation","version","helperCall","helperResponse"]}
       },
       "fields": {
        "id": {"type":"uint32","id":1},
        "result": {"type":"Result","id":2},
        "state": {"type":"ResourceStatus","id":3},
        "waited": {"type":"Waited","id":4},
        "generation": {"type":"GenerationReply","id":5},
        "version": {"type":"VersionReply","id":6},
        "helperCall": {"type":"HelperCall","id":7,"protoName":"helper_call"},
        "helperResponse": {"type":"HelperResponse","id":8,"protoName":"helper_response"}
       }
      },
      "Result": {"fields":{"code":{"type":"sint32","id":1},"text":{"type":"string","id":2}}},
      "Waited": {"fields":{"result":{"type":"string","id":1},"reason":{"type":"string","id":2}}},
      "GenerationReply": {
       "fields": {
        "attached": {"type":"bool","id":1},
        "uuids": {"rule":"repeated","type":"string","id":2},
        "flags": {"type":"uint32","id":3},
        "lastAgreedSectors": {"type":"uint64","id":4,"protoName":"last_agreed_sectors"},
        "lastAgreedMaxBioBytes": {"type":"uint32","id":5,"protoName":"last_agreed_max_bio_bytes"}
       }
      },
      "VersionReply": {"fields":{"engine":{"type":"string","id":1},"pid":{"type":"uint32","id":2}}},
      "HelperCall": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {
        "helper": {"type":"string","id":1},
        "volume": {"type":"uint32","id":2,"options":{"proto3_optional":true}}
       }
      },
      "HelperResponse": {
       "oneofs": {"_volume":{"oneof":["volume"]}},
       "fields": {
        "helper": {"type":"string","id":1},
        "volume": {"type":"uint32","id":2,"options":{"proto3_optional":true}},
        "status": {"type":"uint32","id":3}
       }
      },
      "ResourceStatus": {
       "fields": {
        "name": {"type":"string","id":1},
        "node": {"type":"string","id":2},
        "role": {"type":"string","id":3},
        "peerRole": {"type":"string","id":4,"protoName":"peer_role"},
        "connection": {"type":"string","id":5},
        "protocol": {"type":"string","id":6},
        "writeOrdering": {"type":"string","id":7,"protoName":"write_ordering"},
        "suspended": {"type":"bool","id":8},
        "local": {"type":"string","id":9},
        "remote": {"type":"string","id":10},
        "agreedVersion": {"type":"uint32","id":11,"protoName":"agreed_version"},
        "reason": {"type":"string","id":12},
        "backend": {"type":"string","id":13},
        "io": {"type":"string","id":14},
        "volumes": {"rule":"repeated","type":"VolumeStatus","id":15},
        "skipped": {"type":"uint32","id":16}
       }
      },
      "VolumeStatus": {
       "oneofs": {"_sync":{"oneof":["sync"]}},
       "fields": {
        "volume": {"type":"uint32","id":1},
        "minor": {"type":"uint32","id":2},
        "size": {"type":"uint64","id":3},
        "disk": {"type":"string","id":4},
        "peerDisk": {"type":"string","id":5,"protoName":"peer_disk"},
        "replication": {"type":"string","id":6},
        "backingDisk": {"type":"string","id":7,"protoName":"backing_disk"},
        "uuids": {"rule":"repeated","type":"string","id":8},
        "counters": {"type":"VolumeCounters","id":9},
        "sync": {"type":"SyncProgress","id":10,"options":{"proto3_optional":true}},
        "pausedByUser": {"type":"bool","id":11,"protoName":"paused_by_user"},
        "pausedByPeer": {"type":"bool","id":12,"protoName":"paused_by_peer"},
        "pausedByDependency": {"type":"bool","id":13,"protoName":"paused_by_dependency"},
        "alSuspended": {"type":"bool","id":14,"protoName":"al_suspended"},
        "openCount": {"type":"uint32","id":15,"protoName":"open_count"}
       }
      },
      "VolumeCounters": {
       "fields": {
        "ns": {"type":"uint64","id":1},
        "nr": {"type":"uint64","id":2},
        "dw": {"type":"uint64","id":3},
        "dr": {"type":"uint64","id":4},
        "al": {"type":"uint64","id":5},
        "bm": {"type":"uint64","id":6},
        "lo": {"type":"uint64","id":7},
        "pe": {"type":"uint64","id":8},
        "ua": {"type":"uint64","id":9},
        "ap": {"type":"uint64","id":10},
        "ep": {"type":"uint64","id":11},
        "oos": {"type":"uint64","id":12}
       }
      },
      "SyncProgress": {
       "oneofs": {"_want":{"oneof":["want"]},"_secondsLeft":{"oneof":["secondsLeft"]}},
       "fields": {
        "total": {"type":"uint64","id":1},
        "left": {"type":"uint64","id":2},
        "failed": {"type":"uint64","id":3},
        "rate": {"type":"double","id":4},
        "averageRate": {"type":"double","id":5,"protoName":"average_rate"},
        "want": {"type":"double","id":6,"options":{"proto3_optional":true}},
        "secondsLeft": {"type":"double","id":7,"protoName":"seconds_left","options":{"proto3_optional":true}},
        "elapsedSeconds": {"type":"double","id":8,"protoName":"elapsed_seconds"}
       }
      }
     }
    }
   }
  }
 }
};
