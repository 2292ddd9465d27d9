// System calls on /dev/kvm, and the threads that execute vCPUs. No policy and no device model here: what an ioctl is given, and what is
// done about an exit, is TypeScript's affair. Functions return 0 or more, or the negated errno, as the kernel itself does.

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <napi.h>

namespace {

using Clock = std::chrono::steady_clock;

Napi::Value result(const Napi::CallbackInfo& info, std::int64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value < 0 ? -errno : value));
}

int intOf(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

// open(path): open(2), gives the descriptor
Napi::Value openDevice(const Napi::CallbackInfo& info) {
  const std::string path = info[0].As<Napi::String>().Utf8Value();
  return result(info, open(path.c_str(), O_RDWR | O_CLOEXEC));
}

// close(descriptor): close(2)
Napi::Value closeDescriptor(const Napi::CallbackInfo& info) {
  return result(info, close(intOf(info, 0)));
}

// eventfd(): eventfd(2), gives the descriptor
Napi::Value createEvent(const Napi::CallbackInfo& info) {
  return result(info, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

// As ioctl(2), again if a signal came in between, as those of a profiler do: what waits in the kernel, as KVM_CREATE_VM does, gives up then
// and has changed nothing.
template <typename Argument>
int ioctlWhole(int descriptor, unsigned long request, Argument argument) {
  int status;
  do {
    status = ioctl(descriptor, request, argument);
  } while (status < 0 && errno == EINTR);
  return status;
}

// ioctl(descriptor, request, argument): ioctl(2) with a number, or with a Uint8Array whose bytes the kernel reads and writes
Napi::Value control(const Napi::CallbackInfo& info) {
  const int descriptor = intOf(info, 0);
  const unsigned long request = info[1].As<Napi::Number>().Uint32Value();
  if (info[2].IsNumber()) {
    return result(info, ioctlWhole(descriptor, request, static_cast<unsigned long>(info[2].As<Napi::Number>().Int64Value())));
  }
  const auto bytes = info[2].As<Napi::Uint8Array>();
  // SAFETY: the size that the request number carries is that of the structure, or of its head before an array whose length it states; the
  // wrappers in TypeScript allocate both. The view is alive during the call.
  return result(info, ioctlWhole(descriptor, request, bytes.Data()));
}

// What a vCPU does, as JavaScript sees it.
enum State : std::int32_t { parked = 0, running = 1, exited = 2 };

// Where JavaScript waits for vCPUs.
enum Sleep : std::uint32_t { awake = 0, blocked = 1, inEventLoop = 2 };

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value, const timespec* timeout) {
  static_assert(sizeof(std::atomic<std::uint32_t>) == 4);
  // SAFETY: the word lives as long as the object that it is a member of, which outlives its threads.
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value, timeout, nullptr, 0);
}

timespec toTimespec(std::int64_t nanoseconds) {
  return {static_cast<time_t>(nanoseconds / 1'000'000'000), static_cast<long>(nanoseconds % 1'000'000'000)};
}

// The signal that makes KVM_RUN return. It is blocked everywhere but inside KVM_RUN, so it is never delivered.
int kickSignal() { return SIGRTMIN + 4; }

// The most addresses that a hub listens to: as many as the bits of a mask.
constexpr std::size_t mostDoorbells = 32;

// Joins the vCPU threads of one VM with the JavaScript thread that serves their exits.
//
// NOTE: whoever spins here reads the clock between two looks, and that is pause enough. PAUSE leaves the guest where the host is itself one.
class Hub {
 public:
  // A vCPU has changed its state; called on its thread.
  void tell(std::uint32_t processor) {
    events.fetch_or(1U << processor, std::memory_order_release);
    rouse();
  }

  // The guest has written to an address; called on a vCPU's thread. Returns whether that only rings: then the guest can go on.
  bool ring(std::uint64_t address) {
    const std::size_t count = listening.load(std::memory_order_acquire);
    for (std::size_t bell = 0; bell < count; ++bell) {
      if (doorbells[bell].load(std::memory_order_relaxed) != address) continue;
      rung.fetch_or(1U << bell, std::memory_order_release);
      rouse();
      return true;
    }
    return false;
  }

  bool pending() const { return events.load() != 0 || rung.load() != 0; }

  std::atomic<std::uint32_t> events{0};
  // Which doorbells were rung since JavaScript has looked.
  std::atomic<std::uint32_t> rung{0};
  std::array<std::atomic<std::uint64_t>, mostDoorbells> doorbells{};
  std::atomic<std::size_t> listening{0};
  std::atomic<std::uint32_t> sleep{awake};
  std::atomic<napi_threadsafe_function> wake{nullptr};

 private:
  void rouse() {
    switch (sleep.exchange(awake)) {
      case blocked:
        futex(sleep, FUTEX_WAKE, 1, nullptr);
        break;
      case inEventLoop:
        wakeEventLoop();
        break;
      default:
        break;
    }
  }

  // A JavaScript thread that is being ended says so once; the function must not be called after that.
  void wakeEventLoop() {
    const napi_threadsafe_function function = wake.load();
    if (function != nullptr && napi_call_threadsafe_function(function, nullptr, napi_tsfn_nonblocking) == napi_closing) {
      wake.store(nullptr);
    }
  }
};

// Calls what new VcpuHub() was given. NOTE: by hand, because a thread that is being ended cannot run JavaScript any more, and that is no error.
void callWake(napi_env env, napi_value callback, void*, void*) {
  if (env == nullptr) return;
  napi_value receiver = nullptr;
  napi_value ignored = nullptr;
  napi_get_undefined(env, &receiver);
  napi_call_function(env, receiver, callback, 0, nullptr, &ignored);
}

class VcpuHub : public Napi::ObjectWrap<VcpuHub> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "VcpuHub",
                       {InstanceMethod<&VcpuHub::take>("take"), InstanceMethod<&VcpuHub::takeRung>("takeRung"),
                        InstanceMethod<&VcpuHub::listen>("listen"), InstanceMethod<&VcpuHub::idle>("idle"),
                        InstanceMethod<&VcpuHub::close>("close")});
  }

  // new VcpuHub(onWake): `onWake` is called when a vCPU has something to tell and idle() was called before
  explicit VcpuHub(const Napi::CallbackInfo& info) : Napi::ObjectWrap<VcpuHub>(info), hub(std::make_shared<Hub>()) {
    const napi_env env = info.Env();
    napi_threadsafe_function function = nullptr;
    const napi_status status = napi_create_threadsafe_function(env, info[0], nullptr, Napi::String::New(env, "kvm exits"), 0, 1, nullptr,
                                                               nullptr, nullptr, callWake, &function);
    if (status != napi_ok) throw Napi::Error::New(env);
    napi_unref_threadsafe_function(env, function);
    hub->wake.store(function);
  }

  std::shared_ptr<Hub> hub;

 private:
  // take(spin, block): the vCPUs that have something to tell, as a bit mask; waits for one or a doorbell, first spinning and then blocked,
  // up to so many nanoseconds each
  Napi::Value take(const Napi::CallbackInfo& info) {
    const std::int64_t spin = info[0].As<Napi::Number>().Int64Value();
    const std::int64_t block = info[1].As<Napi::Number>().Int64Value();
    std::uint32_t taken = hub->events.exchange(0, std::memory_order_acquire);
    if (taken == 0 && spin > 0) {
      const auto end = Clock::now() + std::chrono::nanoseconds(spin);
      do {
        if (hub->events.load(std::memory_order_relaxed) != 0) taken = hub->events.exchange(0, std::memory_order_acquire);
      } while (taken == 0 && hub->rung.load(std::memory_order_relaxed) == 0 && Clock::now() < end);
    }
    if (taken == 0 && block > 0) {
      hub->sleep.store(blocked);
      taken = hub->events.exchange(0);
      if (taken == 0 && hub->rung.load() == 0) {
        const timespec timeout = toTimespec(block);
        futex(hub->sleep, FUTEX_WAIT, blocked, &timeout);
        taken = hub->events.exchange(0);
      }
      hub->sleep.store(awake);
    }
    return Napi::Number::New(info.Env(), taken);
  }

  // takeRung(): the doorbells that were rung since the last call, as a bit mask
  Napi::Value takeRung(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), hub->rung.exchange(0, std::memory_order_acquire));
  }

  // listen(addresses): guest-physical addresses of doorbells, 32 at most, instead of those before
  Napi::Value listen(const Napi::CallbackInfo& info) {
    const auto addresses = info[0].As<Napi::Float64Array>();
    const std::size_t count = std::min(addresses.ElementLength(), mostDoorbells);
    hub->listening.store(0);
    for (std::size_t bell = 0; bell < count; ++bell) {
      hub->doorbells[bell].store(static_cast<std::uint64_t>(addresses[bell]));
    }
    hub->listening.store(count, std::memory_order_release);
    return info.Env().Undefined();
  }

  // idle(): from now on `onWake` is called; false if there is something to take already
  Napi::Value idle(const Napi::CallbackInfo& info) {
    hub->sleep.store(inEventLoop);
    if (!hub->pending()) return Napi::Boolean::New(info.Env(), true);
    hub->sleep.store(awake);
    return Napi::Boolean::New(info.Env(), false);
  }

  // close(): no vCPU of this hub may execute any more
  Napi::Value close(const Napi::CallbackInfo& info) {
    const napi_threadsafe_function function = hub->wake.exchange(nullptr);
    if (function != nullptr) napi_release_threadsafe_function(function, napi_tsfn_abort);
    return info.Env().Undefined();
  }
};

// A thread that executes one vCPU, and what it shares with JavaScript.
class VcpuThread : public Napi::ObjectWrap<VcpuThread> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "VcpuThread",
                       {InstanceAccessor<&VcpuThread::runPage>("runPage"), InstanceAccessor<&VcpuThread::state>("state"),
                        InstanceAccessor<&VcpuThread::outcome>("outcome"), InstanceMethod<&VcpuThread::resume>("resume"),
                        InstanceMethod<&VcpuThread::kick>("kick"), InstanceMethod<&VcpuThread::stop>("stop"),
                        InstanceMethod<&VcpuThread::close>("close")});
  }

  // new VcpuThread(hub, descriptor, index, runSize, spin): maps the vCPU's kvm_run (api.rst §5) and begins its thread, parked. `spin`: so many
  // nanoseconds it looks for resume() before it sleeps
  explicit VcpuThread(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<VcpuThread>(info),
        hub(Napi::ObjectWrap<VcpuHub>::Unwrap(info[0].As<Napi::Object>())->hub),
        descriptor(intOf(info, 1)),
        index(static_cast<std::uint32_t>(intOf(info, 2))),
        runSize(static_cast<std::size_t>(info[3].As<Napi::Number>().Int64Value())),
        spin(info[4].As<Napi::Number>().Int64Value()) {
    void* mapped = mmap(nullptr, runSize, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED) {
      throw Napi::Error::New(info.Env(), std::string("mmap of kvm_run: ") + std::strerror(errno));
    }
    run = static_cast<kvm_run*>(mapped);
    // Threads inherit the mask: the new one blocks all signals from its first instruction on.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failure = pthread_create(&thread, nullptr, &VcpuThread::enter, this);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (failure != 0) {
      munmap(run, runSize);
      throw Napi::Error::New(info.Env(), std::string("pthread_create: ") + std::strerror(failure));
    }
    alive = true;
  }

  ~VcpuThread() override { end(); }

 private:
  // runPage: kvm_run and what follows it, as an ArrayBuffer over the mapping
  Napi::Value runPage(const Napi::CallbackInfo& info) {
    // SAFETY: the mapping stays until close(), after which TypeScript uses the buffer no more.
    return Napi::ArrayBuffer::New(info.Env(), run, runSize);
  }

  Napi::Value state(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), phase.load(std::memory_order_acquire));
  }

  // outcome: what KVM_RUN returned when the vCPU has exited: 0, or a negated errno
  Napi::Value outcome(const Napi::CallbackInfo& info) { return Napi::Number::New(info.Env(), returned); }

  // resume(): executes the vCPU, from parked or after an exit was served
  Napi::Value resume(const Napi::CallbackInfo& info) {
    wakeThread(running);
    return info.Env().Undefined();
  }

  // kick(): makes a vCPU that executes exit, with outcome -EINTR
  Napi::Value kick(const Napi::CallbackInfo& info) {
    interrupt();
    return info.Env().Undefined();
  }

  // stop(): the vCPU parks as soon as it can: at once, or when an exit was served and resume() called
  Napi::Value stop(const Napi::CallbackInfo& info) {
    stopping.store(true);
    interrupt();
    return info.Env().Undefined();
  }

  // close(): ends the thread
  Napi::Value close(const Napi::CallbackInfo& info) {
    end();
    return info.Env().Undefined();
  }

  void wakeThread(State to) {
    // NOTE: in this order also for the processor: the thread says that it sleeps and then looks at the phase once more.
    phase.store(static_cast<std::uint32_t>(to));
    if (sleeping.load()) futex(phase, FUTEX_WAKE, 1, nullptr);
  }

  // api.rst §5, kvm_run.immediate_exit: for a vCPU that has not entered yet; the signal for one that has.
  void interrupt() {
    // SAFETY: a byte that the kernel only reads; the mapping lives as long as the thread.
    __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    pthread_kill(thread, kickSignal());
  }

  void end() {
    if (!alive) return;
    alive = false;
    ending.store(true);
    interrupt();
    wakeThread(running);
    pthread_join(thread, nullptr);
    // SAFETY: nobody executes the vCPU any more, and no JavaScript reads the run page after close().
    munmap(run, runSize);
  }

  static void* enter(void* self) {
    static_cast<VcpuThread*>(self)->work();
    return nullptr;
  }

  void work() {
    pthread_setname_np(pthread_self(), "vcpu");
    setSignalMask();
    for (;;) {
      awaitResume();
      if (ending.load()) return;
      int status = 0;
      do {
        status = ioctl(descriptor, KVM_RUN, 0);
      } while (status >= 0 && onlyRings());
      const int failure = status < 0 ? -errno : 0;
      if (failure == -EINTR || failure == -EAGAIN) {
        forgetKick();
        if (ending.load()) return;
        if (stopping.exchange(false)) {
          settle();
          publish(parked);
          continue;
        }
        returned = -EINTR;
      } else {
        returned = failure;
      }
      publish(exited);
    }
  }

  // The guest has left for a doorbell and can go on: KVM_RUN completes the write (api.rst §5, KVM_EXIT_MMIO).
  bool onlyRings() { return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write != 0 && hub->ring(run->mmio.phys_addr); }

  // KVM_SET_SIGNAL_MASK (api.rst §4.21): inside KVM_RUN only the kick is let through.
  void setSignalMask() {
    sigset_t inside;
    sigfillset(&inside);
    sigdelset(&inside, kickSignal());
    // NOTE: laid out by hand, as the array without a length in `struct kvm_signal_mask` has a length in C++, and so has the request's number.
    struct {
      std::uint32_t length = 8;
      std::uint8_t signals[8];
    } mask;
    std::memcpy(mask.signals, &inside, sizeof mask.signals);
    constexpr unsigned long request = _IOC(_IOC_WRITE, KVMIO, 0x8b, sizeof mask.length);
    // SAFETY: the mask has the length and the eight bytes of the kernel's signal set, which are the first of the C library's.
    ioctl(descriptor, request, &mask);
  }

  void forgetKick() {
    // SAFETY: as in interrupt().
    __atomic_store_n(&run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    sigset_t kick;
    sigemptyset(&kick);
    sigaddset(&kick, kickSignal());
    const timespec now{};
    while (sigtimedwait(&kick, nullptr, &now) > 0) {
    }
  }

  // KVM_RUN with the signal pending executes no instruction, but the kernel does what it owes the vCPU before: timers that have fired become
  // interrupt requests, and an interrupt that was queued becomes an injected one. Twice, because a halted vCPU only wakes the first time.
  void settle() {
    for (int round = 0; round < 2; ++round) {
      pthread_kill(pthread_self(), kickSignal());
      ioctl(descriptor, KVM_RUN, 0);
      forgetKick();
    }
  }

  void publish(State to) {
    phase.store(static_cast<std::uint32_t>(to), std::memory_order_release);
    hub->tell(index);
  }

  void awaitResume() {
    const auto end = Clock::now() + std::chrono::nanoseconds(spin);
    while (phase.load(std::memory_order_acquire) != running) {
      if (Clock::now() < end) continue;
      sleeping.store(true);
      for (std::uint32_t seen = phase.load(); seen != running; seen = phase.load()) {
        futex(phase, FUTEX_WAIT, seen, nullptr);
      }
      sleeping.store(false);
    }
  }

  const std::shared_ptr<Hub> hub;
  const int descriptor;
  const std::uint32_t index;
  const std::size_t runSize;
  const std::int64_t spin;
  kvm_run* run = nullptr;
  pthread_t thread{};
  bool alive = false;
  int returned = 0;
  std::atomic<std::uint32_t> phase{parked};
  std::atomic<bool> sleeping{false};
  std::atomic<bool> stopping{false};
  std::atomic<bool> ending{false};
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("open", Napi::Function::New(env, openDevice));
  exports.Set("close", Napi::Function::New(env, closeDescriptor));
  exports.Set("eventfd", Napi::Function::New(env, createEvent));
  exports.Set("ioctl", Napi::Function::New(env, control));
  exports.Set("VcpuHub", VcpuHub::define(env));
  exports.Set("VcpuThread", VcpuThread::define(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(kvm, init)
