#include "sys.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace futago {

Napi::Value Outcome(Napi::Env env, long value) {
  return Napi::Number::New(env, static_cast<double>(value < 0 ? -errno : value));
}

namespace {

int FdOf(const Napi::CallbackInfo& info) { return info[0].ToNumber().Int32Value(); }

// closeFd(fd)
Napi::Value CloseFd(const Napi::CallbackInfo& info) { return Outcome(info.Env(), close(FdOf(info))); }

// dropCache(fd): the page cache's clean pages of the file are let go.
Napi::Value DropCache(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), -posix_fadvise(FdOf(info), 0, 0, POSIX_FADV_DONTNEED));
}

// giveBack(view): whole pages, page aligned
Napi::Value GiveBack(const Napi::CallbackInfo& info) {
  auto pages = info[0].As<Napi::Uint8Array>();
  return Outcome(info.Env(), madvise(pages.Data(), pages.ByteLength(), MADV_DONTNEED));
}

// fallocate on a thread of libuv's pool; calls back with 0 or a negative errno.
class Allocation : public Napi::AsyncWorker {
 public:
  Allocation(const Napi::Function& done, int fd, int mode, int64_t at, int64_t length)
      : Napi::AsyncWorker(done, "futago:fallocate"), fd_(fd), mode_(mode), at_(at), length_(length) {}

  void Execute() override {
    do {
      result_ = fallocate(fd_, mode_, at_, length_) < 0 ? -errno : 0;
    } while (result_ == -EINTR);
  }

  void OnOK() override { Callback().Call({Napi::Number::New(Env(), result_)}); }

 private:
  const int fd_, mode_;
  const int64_t at_, length_;
  int result_ = 0;
};

// allocate(fd, mode, at, length, done)
Napi::Value Allocate(const Napi::CallbackInfo& info) {
  auto* work = new Allocation(info[4].As<Napi::Function>(), FdOf(info), info[1].ToNumber().Int32Value(),
                              info[2].ToNumber().Int64Value(), info[3].ToNumber().Int64Value());
  work->Queue();  // deletes itself when done
  return info.Env().Undefined();
}

// allocateNow(fd, mode, at, length): for questions that cost nothing, such as a hole beyond the end.
Napi::Value AllocateNow(const Napi::CallbackInfo& info) {
  return Outcome(info.Env(), fallocate(FdOf(info), info[1].ToNumber().Int32Value(), info[2].ToNumber().Int64Value(),
                                       info[3].ToNumber().Int64Value()));
}

// directAlignment(fd): what offsets of O_DIRECT must be multiples of, in bytes; 0 where the file has no O_DIRECT,
// -ENODATA where the kernel (before 6.1) or the file system does not say.
Napi::Value DirectAlignment(const Napi::CallbackInfo& info) {
  // struct statx by position: the C library's header may be older than the field (statx(2), STATX_DIOALIGN).
  constexpr unsigned kDioAlign = 0x2000;
  constexpr size_t kMaskAt = 0, kOffsetAlignAt = 156;
  alignas(8) char buffer[256] = {};
  if (syscall(SYS_statx, FdOf(info), "", AT_EMPTY_PATH, kDioAlign, buffer) < 0) return Outcome(info.Env(), -1);
  uint32_t mask, alignment;
  memcpy(&mask, buffer + kMaskAt, sizeof mask);
  memcpy(&alignment, buffer + kOffsetAlignAt, sizeof alignment);
  return Napi::Number::New(info.Env(), mask & kDioAlign ? static_cast<double>(alignment) : -ENODATA);
}

}  // namespace
}  // namespace futago

static Napi::Object InitSys(Napi::Env env, Napi::Object exports) {
  using namespace futago;
  exports.Set("closeFd", Napi::Function::New<CloseFd>(env));
  exports.Set("dropCache", Napi::Function::New<DropCache>(env));
  exports.Set("giveBack", Napi::Function::New<GiveBack>(env));
  exports.Set("allocate", Napi::Function::New<Allocate>(env));
  exports.Set("allocateNow", Napi::Function::New<AllocateNow>(env));
  exports.Set("directAlignment", Napi::Function::New<DirectAlignment>(env));
  DefineSockets(env, exports);
  return exports;
}
NODE_API_MODULE(sys, InitSys)
