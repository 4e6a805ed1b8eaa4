{
  "target_defaults": {
    "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
    "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_ADDON_API_DISABLE_DEPRECATED"],
    "cflags": ["-Wall", "-Wextra", "-Werror", "-O2"],
    "cflags_cc": ["-std=c++17", "-fno-exceptions", "-fno-rtti"],
    "cflags!": ["-Wno-unused-parameter"]
  },
  "targets": [
    { "target_name": "ring", "sources": ["ring/ring.cc", "ring/uring.cc"] },
    { "target_name": "sys", "sources": ["sys/sys.cc", "sys/sockets.cc"] }
  ]
}
