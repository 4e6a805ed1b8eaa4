#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys.h"

namespace futago {
namespace {

// A TCP address of either family with its length.
struct Address {
  sockaddr_storage storage = {};
  socklen_t length = 0;

  bool Parse(const std::string& text, uint16_t port) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      length = sizeof *v4;
    } else if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      length = sizeof *v6;
    }
    if (length == 0) errno = EINVAL;
    return length != 0;
  }

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

// Closes `fd` unless the step succeeded, keeping the step's errno.
long Kept(int fd, bool succeeded) {
  if (succeeded) return fd;
  const int reason = errno;
  close(fd);
  errno = reason;
  return -1;
}

bool SwitchOn(int fd, int level, int option) {
  const int on = 1;
  return setsockopt(fd, level, option, &on, sizeof on) == 0;
}

int IntOf(const Napi::CallbackInfo& info, size_t i) { return info[i].ToNumber().Int32Value(); }

// A blocking stream socket: io_uring waits by itself, and would pass EAGAIN through for a non-blocking one.
int StreamSocket(int family) { return socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0); }

// listenTcp(address, port, backlog): a descriptor
Napi::Value ListenTcp(const Napi::CallbackInfo& info) {
  Address local;
  if (!local.Parse(info[0].ToString(), static_cast<uint16_t>(IntOf(info, 1)))) return Outcome(info.Env(), -1);
  const int fd = StreamSocket(local.storage.ss_family);
  if (fd < 0) return Outcome(info.Env(), -1);
  const bool ok = SwitchOn(fd, SOL_SOCKET, SO_REUSEADDR) && bind(fd, local.get(), local.length) == 0 &&
                  listen(fd, IntOf(info, 2)) == 0;
  return Outcome(info.Env(), Kept(fd, ok));
}

// tcpSocket(localAddress): bound to the address and any port, TCP_NODELAY
Napi::Value TcpSocket(const Napi::CallbackInfo& info) {
  Address local;
  if (!local.Parse(info[0].ToString(), 0)) return Outcome(info.Env(), -1);
  const int fd = StreamSocket(local.storage.ss_family);
  if (fd < 0) return Outcome(info.Env(), -1);
  const bool ok = SwitchOn(fd, SOL_SOCKET, SO_REUSEADDR) && SwitchOn(fd, IPPROTO_TCP, TCP_NODELAY) &&
                  bind(fd, local.get(), local.length) == 0;
  return Outcome(info.Env(), Kept(fd, ok));
}

// socketAddress(address, port, target): writes a struct sockaddr; its length
Napi::Value SocketAddress(const Napi::CallbackInfo& info) {
  Address address;
  if (!address.Parse(info[0].ToString(), static_cast<uint16_t>(IntOf(info, 1)))) return Outcome(info.Env(), -1);
  auto target = info[2].As<Napi::Uint8Array>();
  if (target.ByteLength() < address.length) return Napi::Number::New(info.Env(), -EINVAL);
  memcpy(target.Data(), &address.storage, address.length);
  return Outcome(info.Env(), static_cast<long>(address.length));
}

bool UnixAddress(const std::string& path, sockaddr_un* address) {
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  if (path.size() >= sizeof address->sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  memcpy(address->sun_path, path.data(), path.size());
  return true;
}

// listenUnix(path, backlog)
Napi::Value ListenUnix(const Napi::CallbackInfo& info) {
  sockaddr_un address;
  if (!UnixAddress(info[0].ToString(), &address)) return Outcome(info.Env(), -1);
  const int fd = StreamSocket(AF_UNIX);
  if (fd < 0) return Outcome(info.Env(), -1);
  const bool ok =
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && listen(fd, IntOf(info, 1)) == 0;
  return Outcome(info.Env(), Kept(fd, ok));
}

// probeUnix(path): 0 if somebody listens there (also with a full backlog), else why not (-ECONNREFUSED, -ENOENT)
Napi::Value ProbeUnix(const Napi::CallbackInfo& info) {
  sockaddr_un address;
  if (!UnixAddress(info[0].ToString(), &address)) return Outcome(info.Env(), -1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Outcome(info.Env(), -1);
  const int r = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int reason = r < 0 && errno != EAGAIN ? errno : 0;
  close(fd);
  return Napi::Number::New(info.Env(), -reason);
}

// noDelay(fd)
Napi::Value NoDelay(const Napi::CallbackInfo& info) {
  return Outcome(info.Env(), SwitchOn(IntOf(info, 0), IPPROTO_TCP, TCP_NODELAY) ? 0 : -1);
}

// shutdownSocket(fd, how): SHUT_RD 0, SHUT_WR 1, SHUT_RDWR 2
Napi::Value ShutdownSocket(const Napi::CallbackInfo& info) {
  return Outcome(info.Env(), shutdown(IntOf(info, 0), IntOf(info, 1)));
}

Napi::Value EndpointOf(Napi::Env env, const sockaddr_storage& storage) {
  char text[INET6_ADDRSTRLEN] = "";
  uint16_t port = 0;
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    port = ntohs(v4->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    port = ntohs(v6->sin6_port);
  }
  auto endpoint = Napi::Object::New(env);
  endpoint.Set("address", text);
  endpoint.Set("port", port);
  return endpoint;
}

// localEndpoint(fd), remoteEndpoint(fd): { address, port } or a negative errno; a Unix socket has an empty address
Napi::Value LocalEndpoint(const Napi::CallbackInfo& info) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getsockname(IntOf(info, 0), reinterpret_cast<sockaddr*>(&storage), &length) < 0) return Outcome(info.Env(), -1);
  return EndpointOf(info.Env(), storage);
}

Napi::Value RemoteEndpoint(const Napi::CallbackInfo& info) {
  sockaddr_storage storage = {};
  socklen_t length = sizeof storage;
  if (getpeername(IntOf(info, 0), reinterpret_cast<sockaddr*>(&storage), &length) < 0) return Outcome(info.Env(), -1);
  return EndpointOf(info.Env(), storage);
}

// peerCredentials(fd): { pid, uid, gid } of the process that connected to a Unix socket, or a negative errno
Napi::Value PeerCredentials(const Napi::CallbackInfo& info) {
  ucred who = {};
  socklen_t length = sizeof who;
  if (getsockopt(IntOf(info, 0), SOL_SOCKET, SO_PEERCRED, &who, &length) < 0) return Outcome(info.Env(), -1);
  auto credentials = Napi::Object::New(info.Env());
  credentials.Set("pid", who.pid);
  credentials.Set("uid", who.uid);
  credentials.Set("gid", who.gid);
  return credentials;
}

}  // namespace

void DefineSockets(Napi::Env env, Napi::Object exports) {
  exports.Set("listenTcp", Napi::Function::New<ListenTcp>(env));
  exports.Set("tcpSocket", Napi::Function::New<TcpSocket>(env));
  exports.Set("socketAddress", Napi::Function::New<SocketAddress>(env));
  exports.Set("listenUnix", Napi::Function::New<ListenUnix>(env));
  exports.Set("probeUnix", Napi::Function::New<ProbeUnix>(env));
  exports.Set("noDelay", Napi::Function::New<NoDelay>(env));
  exports.Set("shutdownSocket", Napi::Function::New<ShutdownSocket>(env));
  exports.Set("localEndpoint", Napi::Function::New<LocalEndpoint>(env));
  exports.Set("remoteEndpoint", Napi::Function::New<RemoteEndpoint>(env));
  exports.Set("peerCredentials", Napi::Function::New<PeerCredentials>(env));
}

}  // namespace futago
