/*
 * LD_PRELOAD shim: TCP_NODELAY on every accepted TCP socket.
 *
 * The NBD server of QEMU before 8.0 leaves Nagle's algorithm on. Its pipelined replies then wait for delayed
 * acknowledgements, 40 ms at a time. Newer ones set the option themselves; with the shim all of them are measured alike.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static int without_delay(int fd) {
  int one = 1;
  /* Fails on other sockets than TCP, which is as it should be. */
  if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  return fd;
}

int accept(int fd, struct sockaddr *address, socklen_t *length) {
  static int (*next)(int, struct sockaddr *, socklen_t *);
  if (next == 0) next = (int (*)(int, struct sockaddr *, socklen_t *))dlsym(RTLD_NEXT, "accept");
  return without_delay(next(fd, address, length));
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
  static int (*next)(int, struct sockaddr *, socklen_t *, int);
  if (next == 0) next = (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
  return without_delay(next(fd, address, length, flags));
}
