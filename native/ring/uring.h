// The kernel's io_uring interface, owned: setup, submission, completions, wake-up. No liburing, so that nothing but the
// kernel's own header is needed to build; numbers newer than that header are written out in uring.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

struct io_uring_sqe;
struct io_uring_cqe;

namespace futago {

// A file descriptor that closes itself.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd& operator=(Fd&& other) noexcept {
    Reset();
    fd_ = other.fd_;
    other.fd_ = -1;
    return *this;
  }
  ~Fd() { Reset(); }
  void Reset();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// An anonymous, page-aligned mapping (or one of a file descriptor) that unmaps itself. Null when the kernel refused.
class Mapping {
 public:
  Mapping() = default;
  explicit Mapping(size_t length);
  Mapping(int fd, size_t length, uint64_t offset);
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping() { Reset(); }
  void Reset();
  char* data() const { return data_; }
  size_t size() const { return size_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  char* data_ = nullptr;
  size_t size_ = 0;
};

// One row of the submission table, written by JavaScript. 32 bytes; src/node/ring.ts has the same layout.
struct Op {
  uint32_t code;
  int32_t fd;
  uint32_t at;      // offset into the arena
  uint32_t length;  // bytes; for kSendV the number of (offset, length) pairs at `at`
  double position;  // offset in the file
  uint32_t tag;     // comes back in the completion
  uint32_t flags;   // fallocate's mode; 1 on a write: stable before it completes
};
static_assert(sizeof(Op) == 32, "the table's rows are 32 bytes");

// One row of the completion table, read by JavaScript.
struct Completion {
  uint32_t tag;
  int32_t result;  // bytes or a negative errno
};
static_assert(sizeof(Completion) == 8, "the table's rows are 8 bytes");

enum OpCode : uint32_t {
  kReceive = 1,
  kReceiveAll,  // MSG_WAITALL
  kSendV,       // sendmsg over a list of pieces
  kRead,
  kWrite,
  kSync,  // fdatasync
  kAccept,
  kConnect,     // a struct sockaddr of `length` bytes stands at `at`
  kAllocate,    // fallocate: `position`, `length`, mode in `flags`
  kDiscard,     // block devices, kernel 6.12 and newer
  kCancel,      // cancels the operation whose tag is `at`
  kInlineRead,  // pread at once, on this thread: only for files that live in memory
  kInlineWrite,
  kInlineSync,
};

// Pieces of one kSendV; the block at `at` holds the pairs, then room for the kernel's iovecs and msghdr.
constexpr uint32_t kMaxPieces = 64;
constexpr uint32_t kSendBlockBytes = 2048;

class Uring {
 public:
  // Empty on success, else why there is no ring ("io_uring_setup: EPERM").
  std::string Open(uint32_t entries, char* arena, size_t arenaBytes);
  void Close();
  ~Uring() { Close(); }

  // Takes `count` rows, tells the kernel, then does the inline operations: the peer works while we copy.
  void Submit(const Op* ops, uint32_t count);
  // Moves at most `room` completions out.
  uint32_t Harvest(Completion* into, uint32_t room);
  bool HasCompletions() const;
  // True while something waits that no event will announce.
  bool HasUnsubmitted() const;
  int EventFd() const { return event_.get(); }
  // Switches the signalling of completions through the event descriptor.
  void SetSignalling(bool on);
  // Makes the event descriptor readable, so that the loop comes back.
  void Kick();

 private:
  bool Fill(const Op& op);
  bool FillSend(const Op& op, io_uring_sqe* sqe);
  bool InArena(uint64_t at, uint64_t length) const { return at + length <= arenaBytes_; }
  bool PushWaiting();
  void Enter();
  void RunInline(const Op& op);
  uint32_t Unsubmitted() const;

  char* arena_ = nullptr;
  size_t arenaBytes_ = 0;
  Fd ring_;
  Fd event_;
  Mapping sqMap_, cqMap_, sqeMap_;
  io_uring_sqe* sqes_ = nullptr;
  io_uring_cqe* cqes_ = nullptr;
  uint32_t *sqHead_ = nullptr, *sqTail_ = nullptr, *sqFlags_ = nullptr, *sqArray_ = nullptr;
  uint32_t *cqHead_ = nullptr, *cqTail_ = nullptr, *cqFlags_ = nullptr;
  uint32_t sqMask_ = 0, sqEntries_ = 0, cqMask_ = 0;
  std::deque<Op> waiting_;       // rows that found the submission queue full
  std::vector<Op> inline_;       // rows of this submission done on this thread
  std::deque<Completion> done_;  // results of inline and of refused rows
};

}  // namespace futago
