#include "uring.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#define FUTAGO_HAS_IO_URING 1
#endif

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

namespace futago {

void Fd::Reset() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

Mapping::Mapping(size_t length) {
  void* p = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) return;
  data_ = static_cast<char*>(p);
  size_ = length;
}

Mapping::Mapping(int fd, size_t length, uint64_t offset) {
  void* p = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(offset));
  if (p == MAP_FAILED) return;
  data_ = static_cast<char*>(p);
  size_ = length;
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  Reset();
  data_ = other.data_;
  size_ = other.size_;
  other.data_ = nullptr;
  other.size_ = 0;
  return *this;
}

void Mapping::Reset() {
  if (data_) munmap(data_, size_);
  data_ = nullptr;
  size_ = 0;
}

#ifdef FUTAGO_HAS_IO_URING

namespace {

// The kernel's numbers are frozen ABI. They are written out because headers older than the running kernel lack some.
constexpr uint8_t kOpFsync = 3, kOpSendmsg = 9, kOpAccept = 13, kOpAsyncCancel = 14, kOpConnect = 16, kOpFallocate = 17,
                  kOpRead = 22, kOpWrite = 23, kOpRecv = 27, kOpUringCmd = 46;
#ifdef IORING_FEAT_FAST_POLL
static_assert(kOpRecv == IORING_OP_RECV && kOpFallocate == IORING_OP_FALLOCATE, "io_uring opcodes");
#endif
constexpr uint32_t kSetupCqSize = 1u << 3, kSetupSubmitAll = 1u << 7, kSetupCoopTaskrun = 1u << 8,
                   kSetupSingleIssuer = 1u << 12;
constexpr uint32_t kFeatSingleMmap = 1u << 0, kFeatNoDrop = 1u << 1, kFeatSubmitStable = 1u << 2,
                   kFeatFastPoll = 1u << 5;
constexpr uint32_t kSqCqOverflow = 1u << 1;
constexpr uint32_t kCqEventfdDisabled = 1u << 0;
constexpr uint32_t kEnterGetEvents = 1u << 0;
constexpr uint32_t kRegisterEventfd = 4;
constexpr uint32_t kFsyncDatasync = 1u << 0;
constexpr uint32_t kBlockDiscard = 0x1200;  // _IO(0x12, 0), BLOCK_URING_CMD_DISCARD
constexpr uint32_t kCompletionsPerEntry = 4;
// The completion of a kCancel itself says nothing anyone waits for.
constexpr uint64_t kNobody = ~0ull;

uint32_t Load(const uint32_t* p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
void Store(uint32_t* p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

int Setup(uint32_t entries, io_uring_params* p) {
  // Newest first: each older kernel refuses the flags it does not know with EINVAL.
  const uint32_t attempts[] = {kSetupSubmitAll | kSetupCoopTaskrun | kSetupSingleIssuer,
                               kSetupSubmitAll | kSetupCoopTaskrun, 0};
  int fd = -1;
  for (uint32_t flags : attempts) {
    memset(p, 0, sizeof *p);
    p->flags = flags | kSetupCqSize;
    p->cq_entries = entries * kCompletionsPerEntry;
    fd = static_cast<int>(syscall(__NR_io_uring_setup, entries, p));
    if (fd >= 0 || errno != EINVAL) break;
  }
  return fd;
}

std::string Failure(const char* call) { return std::string(call) + ": " + strerrorname_np(errno); }

}  // namespace

std::string Uring::Open(uint32_t entries, char* arena, size_t arenaBytes) {
  io_uring_params p;
  ring_ = Fd(Setup(entries, &p));
  if (!ring_) return Failure("io_uring_setup");
  const uint32_t needed = kFeatSingleMmap | kFeatNoDrop | kFeatSubmitStable | kFeatFastPoll;
  if ((p.features & needed) != needed) return "io_uring of this kernel is older than 5.7";
  const size_t sqBytes = p.sq_off.array + p.sq_entries * sizeof(uint32_t);
  const size_t cqBytes = p.cq_off.cqes + p.cq_entries * sizeof(io_uring_cqe);
  sqMap_ = Mapping(ring_.get(), sqBytes > cqBytes ? sqBytes : cqBytes, 0);
  sqeMap_ = Mapping(ring_.get(), p.sq_entries * sizeof(io_uring_sqe), 0x10000000ull);
  if (!sqMap_ || !sqeMap_) return Failure("mmap of the ring");
  char* sq = sqMap_.data();
  const auto word = [sq](uint32_t offset) { return reinterpret_cast<uint32_t*>(sq + offset); };
  sqHead_ = word(p.sq_off.head);
  sqTail_ = word(p.sq_off.tail);
  sqFlags_ = word(p.sq_off.flags);
  sqArray_ = word(p.sq_off.array);
  sqMask_ = *word(p.sq_off.ring_mask);
  sqEntries_ = p.sq_entries;
  cqHead_ = word(p.cq_off.head);
  cqTail_ = word(p.cq_off.tail);
  cqMask_ = *word(p.cq_off.ring_mask);
  cqes_ = reinterpret_cast<io_uring_cqe*>(sq + p.cq_off.cqes);
  // `cq_off.flags` by position: headers before 5.8 call it reserved. Zero on kernels without the switch.
  uint32_t flagsOffset;
  memcpy(&flagsOffset, reinterpret_cast<char*>(&p.cq_off) + 24, sizeof flagsOffset);
  cqFlags_ = flagsOffset ? word(flagsOffset) : nullptr;
  sqes_ = reinterpret_cast<io_uring_sqe*>(sqeMap_.data());
  for (uint32_t i = 0; i < sqEntries_; i++) sqArray_[i] = i;
  event_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_) return Failure("eventfd");
  int fd = event_.get();
  if (syscall(__NR_io_uring_register, ring_.get(), kRegisterEventfd, &fd, 1) < 0) return Failure("io_uring_register");
  arena_ = arena;
  arenaBytes_ = arenaBytes;
  return "";
}

void Uring::Close() {
  ring_.Reset();
  event_.Reset();
  sqMap_.Reset();
  sqeMap_.Reset();
  sqes_ = nullptr;
}

uint32_t Uring::Unsubmitted() const { return *sqTail_ - Load(sqHead_); }
bool Uring::HasUnsubmitted() const { return sqes_ && (!waiting_.empty() || Unsubmitted() > 0); }
bool Uring::HasCompletions() const { return sqes_ && (!done_.empty() || Load(cqTail_) != *cqHead_); }

void Uring::SetSignalling(bool on) {
  if (!sqes_ || !cqFlags_) return;
  __atomic_store_n(cqFlags_, on ? 0 : kCqEventfdDisabled, __ATOMIC_SEQ_CST);
  // The kernel must not post between our look at the tail and its look at the flag.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void Uring::Kick() {
  const uint64_t one = 1;
  // A full counter means that it is readable already.
  if (event_ && write(event_.get(), &one, sizeof one) < 0) return;
}

bool Uring::FillSend(const Op& op, io_uring_sqe* sqe) {
  if (op.length > kMaxPieces || !InArena(op.at, kSendBlockBytes) || op.at % 8 != 0) return false;
  char* block = arena_ + op.at;
  const auto* pairs = reinterpret_cast<const uint32_t*>(block);
  auto* pieces = reinterpret_cast<iovec*>(block + kMaxPieces * 8);
  auto* message = reinterpret_cast<msghdr*>(block + kMaxPieces * (8 + sizeof(iovec)));
  static_assert(kMaxPieces * (8 + sizeof(iovec)) + sizeof(msghdr) <= kSendBlockBytes, "a send block holds all three");
  for (uint32_t i = 0; i < op.length; i++) {
    if (!InArena(pairs[2 * i], pairs[2 * i + 1])) return false;
    pieces[i] = {arena_ + pairs[2 * i], pairs[2 * i + 1]};
  }
  memset(message, 0, sizeof *message);
  message->msg_iov = pieces;
  message->msg_iovlen = op.length;
  sqe->opcode = kOpSendmsg;
  sqe->addr = reinterpret_cast<uint64_t>(message);
  sqe->len = 1;
  sqe->rw_flags = MSG_NOSIGNAL | MSG_WAITALL;
  return true;
}

// False: the row makes no sense (memory outside of the arena, unknown code).
bool Uring::Fill(const Op& op) {
  const uint32_t tail = *sqTail_;
  io_uring_sqe* sqe = &sqes_[tail & sqMask_];
  memset(sqe, 0, sizeof *sqe);
  sqe->fd = op.fd;
  sqe->user_data = op.tag;
  const bool usesMemory =
      op.code == kReceive || op.code == kReceiveAll || op.code == kRead || op.code == kWrite || op.code == kConnect;
  if (usesMemory) {
    if (!InArena(op.at, op.length)) return false;
    sqe->addr = reinterpret_cast<uint64_t>(arena_ + op.at);
    sqe->len = op.length;
  }
  switch (op.code) {
    case kReceive:
    case kReceiveAll:
      sqe->opcode = kOpRecv;
      sqe->rw_flags = op.code == kReceiveAll ? MSG_WAITALL : 0;
      break;
    case kSendV:
      if (!FillSend(op, sqe)) return false;
      break;
    case kRead:
    case kWrite:
      sqe->opcode = op.code == kRead ? kOpRead : kOpWrite;
      sqe->off = static_cast<uint64_t>(op.position);
      sqe->rw_flags = op.code == kWrite && op.flags ? RWF_DSYNC : 0;
      break;
    case kSync:
      sqe->opcode = kOpFsync;
      sqe->rw_flags = kFsyncDatasync;
      break;
    case kAccept:
      sqe->opcode = kOpAccept;
      sqe->rw_flags = SOCK_CLOEXEC;
      break;
    case kConnect:
      sqe->opcode = kOpConnect;
      sqe->len = 0;
      sqe->off = op.length;
      break;
    case kAllocate:
      sqe->opcode = kOpFallocate;
      sqe->off = static_cast<uint64_t>(op.position);
      sqe->addr = op.length;
      sqe->len = op.flags;
      break;
    case kDiscard: {
      const uint64_t length = op.length;
      sqe->opcode = kOpUringCmd;
      sqe->off = kBlockDiscard;
      sqe->addr = static_cast<uint64_t>(op.position);
      memcpy(reinterpret_cast<char*>(sqe) + 48, &length, sizeof length);  // addr3
      break;
    }
    case kCancel:
      sqe->opcode = kOpAsyncCancel;
      sqe->addr = op.at;
      sqe->user_data = kNobody;
      break;
    default:
      return false;
  }
  Store(sqTail_, tail + 1);
  return true;
}

void Uring::RunInline(const Op& op) {
  if (!InArena(op.at, op.length)) return done_.push_back({op.tag, -EFAULT});
  char* memory = arena_ + op.at;
  const auto position = static_cast<off_t>(op.position);
  size_t moved = 0;
  ssize_t r = 0;
  if (op.code == kInlineSync) {
    r = fdatasync(op.fd);
    return done_.push_back({op.tag, r < 0 ? -errno : 0});
  }
  while (moved < op.length) {
    const iovec piece = {memory + moved, op.length - moved};
    const off_t at = position + static_cast<off_t>(moved);
    r = op.code == kInlineRead ? pread(op.fd, piece.iov_base, piece.iov_len, at)
                               : pwritev2(op.fd, &piece, 1, at, op.flags ? RWF_DSYNC : 0);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) break;
    moved += static_cast<size_t>(r);
  }
  done_.push_back({op.tag, r < 0 ? -errno : static_cast<int32_t>(moved)});
}

bool Uring::PushWaiting() {
  bool moved = false;
  while (!waiting_.empty() && Unsubmitted() < sqEntries_) {
    const Op op = waiting_.front();
    waiting_.pop_front();
    if (!Fill(op)) done_.push_back({op.tag, -EFAULT});
    moved = true;
  }
  return moved;
}

void Uring::Enter() {
  for (;;) {
    const uint32_t count = Unsubmitted();
    const bool overflown = Load(sqFlags_) & kSqCqOverflow;
    if (count == 0 && !overflown) {
      if (!PushWaiting()) return;
      continue;
    }
    const long r = syscall(__NR_io_uring_enter, ring_.get(), count, 0, kEnterGetEvents, nullptr, 0);
    if (r < 0 && errno == EINTR) continue;
    // EAGAIN, EBUSY: completions must be taken first. The rows stay queued; the caller sees HasUnsubmitted().
    if (r <= 0) return;
    PushWaiting();
  }
}

void Uring::Submit(const Op* ops, uint32_t count) {
  if (!sqes_) return;
  for (uint32_t i = 0; i < count; i++) {
    const Op& op = ops[i];
    if (op.code >= kInlineRead && op.code <= kInlineSync) {
      inline_.push_back(op);
    } else if (!waiting_.empty() || Unsubmitted() >= sqEntries_) {
      waiting_.push_back(op);
    } else if (!Fill(op)) {
      done_.push_back({op.tag, -EFAULT});
    }
  }
  Enter();
  for (const Op& op : inline_) RunInline(op);
  inline_.clear();
}

uint32_t Uring::Harvest(Completion* into, uint32_t room) {
  if (!sqes_) return 0;
  uint32_t n = 0;
  for (; n < room && !done_.empty(); n++) {
    into[n] = done_.front();
    done_.pop_front();
  }
  uint32_t head = *cqHead_;
  const uint32_t tail = Load(cqTail_);
  for (; head != tail && n < room; head++) {
    const io_uring_cqe& cqe = cqes_[head & cqMask_];
    if (cqe.user_data != kNobody) into[n++] = {static_cast<uint32_t>(cqe.user_data), cqe.res};
  }
  Store(cqHead_, head);
  return n;
}

#else  // built where the kernel's header is unknown: the fallback serves

std::string Uring::Open(uint32_t, char*, size_t) { return "built without <linux/io_uring.h>"; }
void Uring::Close() {}
void Uring::Submit(const Op*, uint32_t) {}
uint32_t Uring::Harvest(Completion*, uint32_t) { return 0; }
bool Uring::HasCompletions() const { return false; }
bool Uring::HasUnsubmitted() const { return false; }
void Uring::SetSignalling(bool) {}
void Uring::Kick() {}

#endif

}  // namespace futago
