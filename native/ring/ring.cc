// N-API face of Uring: `new Ring(arenaBytes, entries)` with the properties `arena`, `ops`, `completions` (ArrayBuffers
// over native memory) and `unavailable` (text, "" when there is a ring); `start(wake)`, `enter(count, harvest)`,
// `giveBack(at, length)`, `close()`.
#include <napi.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

#include <memory>

#include "uring.h"

namespace futago {
namespace {

constexpr uint32_t kDefaultEntries = 1024;
constexpr uint32_t kCompletionRows = 4096;

// Memory that JavaScript and the ring share lives until both have let go.
using SharedMapping = std::shared_ptr<Mapping>;

Napi::Value Expose(Napi::Env env, const SharedMapping& memory) {
  auto* hold = new SharedMapping(memory);
  return Napi::ArrayBuffer::New(
      env, memory->data(), memory->size(), [](Napi::Env, void*, SharedMapping* held) { delete held; }, hold);
}

// The poll handle outlives the wrapper object: libuv frees it in its close callback.
struct Wakeup {
  uv_poll_t poll;
  class Ring* ring;
};

class Ring : public Napi::ObjectWrap<Ring> {
 public:
  static Napi::Function Define(Napi::Env env) {
    return DefineClass(env, "Ring",
                       {InstanceMethod<&Ring::Start>("start"), InstanceMethod<&Ring::Enter>("enter"),
                        InstanceMethod<&Ring::GiveBack>("giveBack"), InstanceMethod<&Ring::CloseRing>("close")});
  }

  explicit Ring(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Ring>(info) {
    const Napi::Env env = info.Env();
    const auto bytes = static_cast<size_t>(info[0].ToNumber().Int64Value());
    entries_ = info[1].IsNumber() ? info[1].As<Napi::Number>().Uint32Value() : kDefaultEntries;
    arena_ = std::make_shared<Mapping>(bytes);
    ops_ = std::make_shared<Mapping>(entries_ * sizeof(Op));
    completions_ = std::make_shared<Mapping>(kCompletionRows * sizeof(Completion));
    if (!*arena_ || !*ops_ || !*completions_) {
      Napi::Error::New(env, "no memory for the arena").ThrowAsJavaScriptException();
      return;
    }
    auto self = info.This().As<Napi::Object>();
    self.Set("unavailable", uring_.Open(entries_, arena_->data(), arena_->size()));
    self.Set("arena", Expose(env, arena_));
    self.Set("ops", Expose(env, ops_));
    self.Set("completions", Expose(env, completions_));
  }

  ~Ring() override { Stop(); }

 private:
  void Start(const Napi::CallbackInfo& info) {
    if (wakeup_ || uring_.EventFd() < 0) return;
    wake_ = Napi::Persistent(info[0].As<Napi::Function>());
    context_ = std::make_unique<Napi::AsyncContext>(info.Env(), "futago:ring");
    uv_loop_t* loop = nullptr;
    napi_get_uv_event_loop(info.Env(), &loop);
    wakeup_ = new Wakeup{{}, this};
    if (uv_poll_init(loop, &wakeup_->poll, uring_.EventFd()) != 0) {
      delete wakeup_;
      wakeup_ = nullptr;
      Napi::Error::New(info.Env(), "the event descriptor cannot be polled").ThrowAsJavaScriptException();
      return;
    }
    wakeup_->poll.data = wakeup_;
    uv_poll_start(&wakeup_->poll, UV_READABLE, OnReadable);
    napi_add_env_cleanup_hook(info.Env(), OnExit, this);
    env_ = info.Env();
    Ref();  // JavaScript need not hold us while the loop does
  }

  static void OnReadable(uv_poll_t* poll, int, int) {
    Ring* ring = static_cast<Wakeup*>(poll->data)->ring;
    if (ring) ring->Wake();
  }

  void Wake() {
    uint64_t count;
    if (read(uring_.EventFd(), &count, sizeof count) < 0) count = 0;
    // What completes while we work is found by looking; its signal would only cost a wake-up for nothing.
    uring_.SetSignalling(false);
    if (uring_.HasUnsubmitted()) uring_.Submit(nullptr, 0);
    const uint32_t n = uring_.Harvest(Completions(), kCompletionRows);
    if (n > 0) {
      const Napi::Env env(env_);
      Napi::HandleScope scope(env);
      wake_.MakeCallback(env.Global(), {Napi::Number::New(env, n)}, *context_);
      if (env.IsExceptionPending()) {
        const Napi::Value error = env.GetAndClearPendingException().Value();
        napi_fatal_exception(env, error);
      }
    }
    if (!wakeup_) return;  // closed meanwhile
    uring_.SetSignalling(true);
    if (uring_.HasCompletions() || uring_.HasUnsubmitted()) uring_.Kick();
  }

  // enter(count, harvest): submits the first `count` rows; returns how many completions were put into the table.
  Napi::Value Enter(const Napi::CallbackInfo& info) {
    const uint32_t count = info[0].As<Napi::Number>().Uint32Value();
    uring_.Submit(reinterpret_cast<const Op*>(ops_->data()), count < entries_ ? count : entries_);
    uint32_t n = 0;
    if (info[1].As<Napi::Boolean>().Value()) {
      n = uring_.Harvest(Completions(), kCompletionRows);
    } else if (uring_.HasCompletions() || uring_.HasUnsubmitted()) {
      uring_.Kick();
    }
    return Napi::Number::New(info.Env(), n);
  }

  // Gives the whole pages within the range back to the system; they read as zeroes afterwards.
  void GiveBack(const Napi::CallbackInfo& info) {
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const auto at = static_cast<size_t>(info[0].ToNumber().Int64Value());
    const auto length = static_cast<size_t>(info[1].ToNumber().Int64Value());
    const size_t from = (at + page - 1) / page * page;
    const size_t to = (at + length) / page * page;
    if (from < to && to <= arena_->size()) madvise(arena_->data() + from, to - from, MADV_DONTNEED);
  }

  void CloseRing(const Napi::CallbackInfo&) {
    if (!wakeup_) return;
    napi_remove_env_cleanup_hook(env_, OnExit, this);
    Stop();
    // The function reaches us through JavaScript: kept, neither would ever be collected.
    wake_.Reset();
    Unref();
  }

  static void OnExit(void* ring) { static_cast<Ring*>(ring)->Stop(); }

  void Stop() {
    if (wakeup_) {
      wakeup_->ring = nullptr;
      uv_poll_stop(&wakeup_->poll);
      uv_close(reinterpret_cast<uv_handle_t*>(&wakeup_->poll),
               [](uv_handle_t* handle) { delete static_cast<Wakeup*>(handle->data); });
      wakeup_ = nullptr;
    }
    uring_.Close();
  }

  Completion* Completions() const { return reinterpret_cast<Completion*>(completions_->data()); }

  uint32_t entries_ = kDefaultEntries;
  // Declared before the ring: it is closed before its memory goes.
  SharedMapping arena_, ops_, completions_;
  Uring uring_;
  Wakeup* wakeup_ = nullptr;
  Napi::FunctionReference wake_;
  std::unique_ptr<Napi::AsyncContext> context_;
  napi_env env_ = nullptr;
};

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("Ring", Ring::Define(env));
  return exports;
}

}  // namespace
}  // namespace futago

static Napi::Object InitRing(Napi::Env env, Napi::Object exports) { return futago::Init(env, exports); }
NODE_API_MODULE(ring, InitRing)
