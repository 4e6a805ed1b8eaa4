/**
 * The OCF agents that haresources2cib knows, with the names of their parameters by position (heartbeat §18.3). Those
 * of addresses are checked every 5 s with a timeout of 5 s, the others every 120 s with 60 s.
 */
import { type Milliseconds, seconds } from "../../../core/units.ts";

export interface AgentRow {
  readonly parameters: readonly string[];
  readonly interval: Milliseconds;
  readonly timeout: Milliseconds;
}

const quick = { interval: seconds(5), timeout: seconds(5) } as const;
/** Of agents in no table too. */
export const slow = { interval: seconds(120), timeout: seconds(60) } as const;

const address = ["ip", "nic", "cidr_netmask", "broadcast", "iflabel", "lvs_support"] as const;

export const agentTable = {
  apache: { parameters: ["configfile", "httpd", "port", "statusurl", "options", "testregex"], ...slow },
  AudibleAlarm: { parameters: ["nodelist"], ...slow },
  ClusterMon: { parameters: ["user", "update", "extra_options", "pidfile", "htmlfile"], ...slow },
  db2: { parameters: ["instance", "admin"], ...slow },
  Delay: { parameters: ["startdelay", "stopdelay", "mondelay"], ...slow },
  drbd: {
    parameters: [
      ...["drbd_resource", "drbdconf", "clone_overrides_hostname", "clone_max", "clone_node_max"],
      ...["master_max", "master_node_max"],
    ],
    ...slow,
  },
  Dummy: { parameters: ["state"], ...slow },
  eDir88: {
    parameters: [
      ...["eDir_config_file", "eDir_monitor_ldap", "eDir_monitor_idm", "eDir_jvm_initial_heap"],
      ...["eDir_jvm_max_heap", "eDir_jvm_options"],
    ],
    ...slow,
  },
  Evmsd: { parameters: [], ...slow },
  EvmsSCC: { parameters: [], ...slow },
  Filesystem: {
    parameters: ["device", "directory", "fstype", "options", "ocfs2_cluster", "ocfs2_configfs"],
    ...slow,
  },
  ICP: { parameters: ["driveid", "device"], ...slow },
  ids: { parameters: ["informixdir", "informixserver", "onconfig", "dbname", "sqltestquery"], ...slow },
  IPaddr: {
    parameters: [
      ...[...address, "local_stop_script", "local_start_script"],
      ...["ARP_INTERVAL_MS", "ARP_REPEAT", "ARP_BACKGROUND", "ARP_NETMASK"],
    ],
    ...quick,
  },
  IPaddr2: {
    parameters: [...address, "mac", "clusterip_hash", "arp_interval", "arp_count", "arp_bg", "arp_mac"],
    ...quick,
  },
  IPsrcaddr: { parameters: ["ipaddress"], ...quick },
  IPv6addr: { parameters: ["ipv6addr"], ...quick },
  LinuxSCSI: { parameters: ["scsi"], ...slow },
  LVM: { parameters: ["volgrpname"], ...slow },
  MailTo: { parameters: ["email", "subject"], ...slow },
  ManageRAID: { parameters: ["raidname"], ...slow },
  ManageVE: { parameters: ["veid"], ...slow },
  mysql: {
    parameters: [
      ...["binary", "config", "datadir", "user", "group", "test_table", "test_user", "test_passwd"],
      "enable_creation",
    ],
    ...slow,
  },
  o2cb: { parameters: ["netdev", "port", "ocfs2_cluster"], ...slow },
  oracle: { parameters: ["sid", "home", "user", "ipcrm"], ...slow },
  oralsnr: { parameters: ["sid", "home", "user", "listener"], ...slow },
  pgsql: { parameters: [], ...slow },
  pingd: {
    parameters: ["pidfile", "user", "dampen", "set", "name", "section", "multiplier", "host_list"],
    ...slow,
  },
  portblock: { parameters: ["protocol", "portno", "action"], ...slow },
  "Pure-FTPd": { parameters: ["script", "conffile"], ...slow },
  Raid1: { parameters: ["raidconf", "raiddev"], ...slow },
  rsyncd: { parameters: ["binpath", "conffile", "bwlimit"], ...slow },
  SAPDatabase: {
    parameters: [
      ...["SID", "DIR_EXECUTABLE", "DBTYPE", "NETSERVICENAME", "DBJ2EE_ONLY", "DIR_BOOTSTRAP", "DIR_SECSTORE"],
    ],
    ...slow,
  },
  SAPInstance: { parameters: ["InstanceName", "DIR_EXECUTABLE", "DIR_PROFILE", "START_PROFILE"], ...slow },
  SendArp: { parameters: ["ip", "nic"], ...slow },
  ServeRAID: { parameters: ["serveraid", "mergegroup"], ...slow },
  Stateful: { parameters: ["state"], ...slow },
  SysInfo: { parameters: ["pidfile", "delay"], ...slow },
  VIPArip: { parameters: ["ip", "nic"], ...slow },
  WAS: { parameters: ["config", "port"], ...slow },
  WAS6: { parameters: ["profile"], ...slow },
  WinPopup: { parameters: ["hostfile"], ...slow },
  Xen: { parameters: ["xmfile"], ...slow },
  Xinetd: { parameters: ["service"], ...slow },
} as const satisfies Readonly<Record<string, AgentRow>>;

export const agentRow = (type: string): AgentRow | undefined =>
  Object.hasOwn(agentTable, type) ? agentTable[type as keyof typeof agentTable] : undefined;
