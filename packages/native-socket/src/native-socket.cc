// System calls on sockets and taps that Node does not offer: descriptors that travel with bytes (unix(7) SCM_RIGHTS), AF_VSOCK,
// pseudoterminals, network interfaces whose other end is a descriptor, reads and writes without streams around them, and a thread that
// waits until descriptors are ready. No policy here: each function is one system call, takes what the caller decided, and returns 0 or
// more, or the negated errno as the kernel itself does. The TypeScript side turns that into errors.

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

// NOTE: these need sys/socket.h before them.
#include <linux/if_tun.h>
#include <linux/vm_sockets.h>

#include <array>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>

#include <napi.h>

namespace {

// How many descriptors can travel with one message (the kernel's SCM_MAX_FD).
constexpr std::size_t maximumDescriptors = 253;

int intOf(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].As<Napi::Number>().Int32Value();
}

Napi::Value result(const Napi::CallbackInfo& info, std::int64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value < 0 ? -errno : value));
}

iovec bytesOf(const Napi::Value& value) {
  auto view = value.As<Napi::Uint8Array>();
  // SAFETY: the pointer is the first byte of the view and stays valid for its length while the JavaScript value is alive, which it
  // is during the call that received it; no caller keeps it for longer.
  return {view.Data(), view.ByteLength()};
}

// An address of any family: from a path, from an IP address and a port, or from a CID and a port.
struct Address {
  union {
    sockaddr any;
    sockaddr_un local;
    sockaddr_vm machine;
    sockaddr_in internet4;
    sockaddr_in6 internet6;
  };
  socklen_t length;
};

Address addressOf(const Napi::CallbackInfo& info) {
  Address address = {};
  if (info[1].IsString() && info[2].IsNumber()) {
    const std::string host = info[1].As<Napi::String>().Utf8Value();
    const auto port = htons(static_cast<std::uint16_t>(info[2].As<Napi::Number>().Uint32Value()));
    if (inet_pton(AF_INET, host.c_str(), &address.internet4.sin_addr) == 1) {
      address.internet4.sin_family = AF_INET;
      address.internet4.sin_port = port;
      address.length = sizeof(address.internet4);
    } else if (inet_pton(AF_INET6, host.c_str(), &address.internet6.sin6_addr) == 1) {
      address.internet6.sin6_family = AF_INET6;
      address.internet6.sin6_port = port;
      address.length = sizeof(address.internet6);
    } else {
      throw Napi::RangeError::New(info.Env(), "not an IP address");
    }
  } else if (info[1].IsString()) {
    const std::string path = info[1].As<Napi::String>().Utf8Value();
    if (path.empty() || path.size() >= sizeof(address.local.sun_path)) {
      throw Napi::RangeError::New(info.Env(), "the path of a socket has 1 to 107 bytes");
    }
    address.local.sun_family = AF_UNIX;
    // SAFETY: the path is shorter than the field, and all of the field was zero.
    std::memcpy(address.local.sun_path, path.data(), path.size());
    address.length = sizeof(address.local);
  } else {
    address.machine.svm_family = AF_VSOCK;
    address.machine.svm_cid = info[1].As<Napi::Number>().Uint32Value();
    address.machine.svm_port = info[2].As<Napi::Number>().Uint32Value();
    address.length = sizeof(address.machine);
  }
  return address;
}

// socket(domain): a stream socket that does not block and is closed on exec
Napi::Value makeSocket(const Napi::CallbackInfo& info) {
  return result(info, socket(intOf(info, 0), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// socketPair(): socketpair(2), two stream sockets, as an array
Napi::Value socketPair(const Napi::CallbackInfo& info) {
  std::array<int, 2> ends = {-1, -1};
  // SAFETY: the kernel writes two ints.
  const int outcome = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data());
  auto pair = Napi::Array::New(info.Env(), 2);
  pair.Set(0U, Napi::Number::New(info.Env(), outcome < 0 ? -errno : ends[0]));
  pair.Set(1U, Napi::Number::New(info.Env(), ends[1]));
  return pair;
}

// sendAtOnce(descriptor): tcp(7) TCP_NODELAY
Napi::Value sendAtOnce(const Napi::CallbackInfo& info) {
  const int on = 1;
  // SAFETY: the kernel reads one int.
  return result(info, setsockopt(intOf(info, 0), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

// bind(descriptor, path), bind(descriptor, ip, port) or bind(descriptor, cid, port): bind(2)
Napi::Value bindSocket(const Napi::CallbackInfo& info) {
  const Address address = addressOf(info);
  // SAFETY: the address lives until the call returns, which copies it.
  return result(info, bind(intOf(info, 0), &address.any, address.length));
}

// connect(descriptor, path), connect(descriptor, ip, port) or connect(descriptor, cid, port): connect(2)
Napi::Value connectSocket(const Napi::CallbackInfo& info) {
  const Address address = addressOf(info);
  // SAFETY: the address lives until the call returns, which copies it.
  return result(info, connect(intOf(info, 0), &address.any, address.length));
}

// listen(descriptor, backlog): listen(2)
Napi::Value listenSocket(const Napi::CallbackInfo& info) { return result(info, listen(intOf(info, 0), intOf(info, 1))); }

// accept(descriptor): accept4(2), gives a descriptor
Napi::Value acceptSocket(const Napi::CallbackInfo& info) {
  return result(info, accept4(intOf(info, 0), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
}

// shutdown(descriptor): shutdown(2) SHUT_WR
Napi::Value shutdownSocket(const Napi::CallbackInfo& info) { return result(info, shutdown(intOf(info, 0), SHUT_WR)); }

// errorOf(descriptor): the error of the socket that is pending (socket(7) SO_ERROR), negated; 0 if there is none
Napi::Value errorOf(const Napi::CallbackInfo& info) {
  int pending = 0;
  socklen_t length = sizeof(pending);
  // SAFETY: both live until the call returns, and `length` is the size of what is to be written.
  if (getsockopt(intOf(info, 0), SOL_SOCKET, SO_ERROR, &pending, &length) < 0) return result(info, -1);
  return Napi::Number::New(info.Env(), -pending);
}

// duplicate(descriptor): fcntl(2) F_DUPFD_CLOEXEC, gives the copy
Napi::Value duplicate(const Napi::CallbackInfo& info) {
  return result(info, fcntl(intOf(info, 0), F_DUPFD_CLOEXEC, 0));
}

// read(descriptor, view): read(2), gives the number of bytes
Napi::Value readBytes(const Napi::CallbackInfo& info) {
  const iovec bytes = bytesOf(info[1]);
  return result(info, read(intOf(info, 0), bytes.iov_base, bytes.iov_len));
}

// write(descriptor, views): writev(2), gives the number of bytes
Napi::Value writeParts(const Napi::CallbackInfo& info) {
  const auto views = info[1].As<Napi::Array>();
  std::array<iovec, IOV_MAX> parts;
  const std::size_t count = views.Length();
  if (count > parts.size()) throw Napi::RangeError::New(info.Env(), "too many parts for one call");
  for (std::size_t index = 0; index < count; index++) {
    parts[index] = bytesOf(static_cast<Napi::Value>(views[static_cast<std::uint32_t>(index)]));
  }
  return result(info, writev(intOf(info, 0), parts.data(), static_cast<int>(count)));
}

// doNotBlock(descriptor): fcntl(2) O_NONBLOCK
Napi::Value doNotBlock(const Napi::CallbackInfo& info) {
  const int flags = fcntl(intOf(info, 0), F_GETFL);
  return result(info, flags < 0 ? flags : fcntl(intOf(info, 0), F_SETFL, flags | O_NONBLOCK));
}

// attachTap(name, flags): opens /dev/net/tun and does TUNSETIFF (Documentation/networking/tuntap.rst), gives a descriptor that does not block
Napi::Value attachTap(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  ifreq request = {};
  if (name.empty() || name.size() >= sizeof(request.ifr_name)) {
    throw Napi::RangeError::New(info.Env(), "the name of a network interface has 1 to 15 bytes");
  }
  // SAFETY: the name is shorter than the field, and all of the field was zero.
  std::memcpy(request.ifr_name, name.data(), name.size());
  request.ifr_flags = static_cast<short>(info[1].As<Napi::Number>().Int32Value());
  const int descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return result(info, -1);
  // SAFETY: the request lives until the call returns; the same below.
  if (ioctl(descriptor, TUNSETIFF, &request) < 0) {
    const int error = errno;
    close(descriptor);
    errno = error;
    return result(info, -1);
  }
  return Napi::Number::New(info.Env(), descriptor);
}

// tapFlags(descriptor): TUNGETIFF, gives the flags that the tap was attached with
Napi::Value tapFlags(const Napi::CallbackInfo& info) {
  ifreq request = {};
  if (ioctl(intOf(info, 0), TUNGETIFF, &request) < 0) return result(info, -1);
  return Napi::Number::New(info.Env(), static_cast<std::uint16_t>(request.ifr_flags));
}

// setTapHeader(descriptor, bytes): TUNSETVNETHDRSZ
Napi::Value setTapHeader(const Napi::CallbackInfo& info) {
  int size = intOf(info, 1);
  return result(info, ioctl(intOf(info, 0), TUNSETVNETHDRSZ, &size));
}

// setTapOffload(descriptor, flags): TUNSETOFFLOAD
Napi::Value setTapOffload(const Napi::CallbackInfo& info) {
  return result(info, ioctl(intOf(info, 0), TUNSETOFFLOAD, static_cast<unsigned long>(intOf(info, 1))));
}

// keepTap(descriptor): TUNSETPERSIST, the interface stays when nobody is attached to it
Napi::Value keepTap(const Napi::CallbackInfo& info) { return result(info, ioctl(intOf(info, 0), TUNSETPERSIST, 1UL)); }

// Room for the control message with descriptors, aligned as its header.
union Control {
  cmsghdr header;
  std::array<char, CMSG_SPACE(maximumDescriptors * sizeof(int))> bytes;
};

// receive(descriptor, view, received): recvmsg(2), gives the number of bytes; descriptors are appended to the array
Napi::Value receive(const Napi::CallbackInfo& info) {
  iovec bytes = bytesOf(info[1]);
  auto received = info[2].As<Napi::Array>();
  Control control = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  // SAFETY: bytes and control live until the call returns, with the lengths that are told.
  message.msg_control = control.bytes.data();
  message.msg_controllen = control.bytes.size();
  const ssize_t count = recvmsg(intOf(info, 0), &message, MSG_CMSG_CLOEXEC);
  const int error = errno;
  if (count >= 0) {
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
      if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t descriptors = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t index = 0; index < descriptors; index++) {
        int descriptor = -1;
        // SAFETY: the kernel wrote whole ints after the header, as many as its length says; they need not be aligned.
        std::memcpy(&descriptor, CMSG_DATA(each) + index * sizeof(int), sizeof(int));
        received.Set(received.Length(), Napi::Number::New(info.Env(), descriptor));
      }
    }
  }
  errno = error;
  return result(info, count);
}

// send(descriptor, view, descriptors): sendmsg(2), gives the number of bytes; the descriptors travel with the first of them
Napi::Value send(const Napi::CallbackInfo& info) {
  iovec bytes = bytesOf(info[1]);
  const auto descriptors = info[2].As<Napi::Array>();
  const std::size_t count = descriptors.Length();
  if (count > maximumDescriptors) throw Napi::RangeError::New(info.Env(), "too many descriptors for one message");
  Control control = {};
  msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (count > 0) {
    message.msg_control = control.bytes.data();
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (std::size_t index = 0; index < count; index++) {
      const int descriptor = static_cast<Napi::Value>(descriptors[index]).As<Napi::Number>().Int32Value();
      // SAFETY: there is room for `count` descriptors, which was checked to be no more than the buffer is made for.
      std::memcpy(CMSG_DATA(header) + index * sizeof(int), &descriptor, sizeof(int));
    }
  }
  // SAFETY: bytes and control live until the call returns, with the lengths that are told.
  return result(info, sendmsg(intOf(info, 0), &message, MSG_NOSIGNAL));
}

// openTerminal(): the side of a new pseudoterminal (pty(7)) that is no terminal, which does not block and is closed on exec; the other
// side is unlocked, raw (termios(3) cfmakeraw), and was open once, so that it counts as hung up
Napi::Value openTerminal(const Napi::CallbackInfo& info) {
  const int descriptor = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) return result(info, -1);
  termios mode = {};
  int unlock = 0;
  int other = -1;
  // SAFETY: the structures live until the calls return, and have the types that these ioctls take.
  if (ioctl(descriptor, TIOCSPTLCK, &unlock) == 0 && tcgetattr(descriptor, &mode) == 0) {
    cfmakeraw(&mode);
    if (tcsetattr(descriptor, TCSANOW, &mode) == 0) other = ioctl(descriptor, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  }
  if (other < 0) {
    const int error = errno;
    close(descriptor);
    errno = error;
    return result(info, -1);
  }
  close(other);
  return result(info, descriptor);
}

// terminalNumber(descriptor): TIOCGPTN, the number N of /dev/pts/N
Napi::Value terminalNumber(const Napi::CallbackInfo& info) {
  int number = 0;
  // SAFETY: the number lives until the call returns.
  if (ioctl(intOf(info, 0), TIOCGPTN, &number) < 0) return result(info, -1);
  return result(info, number);
}

// hungUp(descriptor): 1 if nobody has the other side open (poll(2) POLLHUP), or 0
Napi::Value hungUp(const Napi::CallbackInfo& info) {
  pollfd entry = {intOf(info, 0), 0, 0};
  // SAFETY: there is one entry.
  if (poll(&entry, 1, 0) < 0) return result(info, -1);
  return result(info, (entry.revents & POLLHUP) != 0 ? 1 : 0);
}

// A thread that waits until one of the watched descriptors is ready, and tells JavaScript which.
class Watcher {
 public:
  explicit Watcher(Napi::Env env, Napi::Function ready)
      : epoll_(epoll_create1(EPOLL_CLOEXEC)), end_(eventfd(0, EFD_CLOEXEC)) {
    ready_ = Napi::ThreadSafeFunction::New(env, ready, "watcher", 0, 1);
    ready_.Unref(env);
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = endMark;
    // SAFETY: the event lives until the call returns, which copies it; the same below.
    epoll_ctl(epoll_, EPOLL_CTL_ADD, end_, &event);
    thread_ = std::thread([this] { wait(); });
  }

  ~Watcher() {
    const std::uint64_t one = 1;
    // SAFETY: an eventfd takes 8 bytes.
    if (write(end_, &one, sizeof(one)) == sizeof(one)) thread_.join();
    ready_.Release();
    close(end_);
    close(epoll_);
  }

  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // Each descriptor is watched for one event; then it must be armed again.
  int control(int operation, int descriptor, std::uint32_t events, std::uint32_t id) {
    epoll_event event = {};
    event.events = events | EPOLLONESHOT;
    event.data.u64 = id;
    return epoll_ctl(epoll_, operation, descriptor, &event);
  }

  Napi::ThreadSafeFunction ready_;

 private:
  static constexpr std::uint64_t endMark = ~0ULL;

  void wait() {
    for (;;) {
      std::array<epoll_event, 16> events;
      // SAFETY: the kernel writes no more events than the array has room for.
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      for (int index = 0; index < count; index++) {
        const std::uint64_t id = events[index].data.u64;
        const std::uint32_t what = events[index].events;
        if (id == endMark) return;
        const napi_status status = ready_.NonBlockingCall([id, what](Napi::Env env, Napi::Function ready) {
          ready.Call({Napi::Number::New(env, static_cast<double>(id)), Napi::Number::New(env, what)});
        });
        if (status != napi_ok) return;
      }
      if (count < 0 && errno != EINTR) return;
    }
  }

  int epoll_;
  int end_;
  std::thread thread_;
};

Watcher& watcherOf(const Napi::CallbackInfo& info) {
  auto* watcher = info.Env().GetInstanceData<Watcher>();
  if (watcher == nullptr) throw Napi::Error::New(info.Env(), "nothing was begun that could watch");
  return *watcher;
}

void forget(Napi::Env, Watcher*) {}

// beginWatching(ready): from now on `ready(id, events)` is called
Napi::Value beginWatching(const Napi::CallbackInfo& info) {
  auto* watcher = new Watcher(info.Env(), info[0].As<Napi::Function>());
  info.Env().SetInstanceData<Watcher, forget>(watcher);
  // NOTE: hooks are called in reverse order, so this one comes before that of the thread-safe function, which must not be freed before
  // the thread has ended. Instance data is finalized after both.
  // SAFETY: nothing of the environment runs any more that could reach the watcher through the instance data.
  info.Env().AddCleanupHook([watcher] { delete watcher; });
  return info.Env().Undefined();
}

// watch(operation, descriptor, events, id): epoll_ctl(2)
Napi::Value watch(const Napi::CallbackInfo& info) {
  return result(info, watcherOf(info).control(intOf(info, 0), intOf(info, 1), info[2].As<Napi::Number>().Uint32Value(),
                                              info[3].As<Napi::Number>().Uint32Value()));
}

// keepAlive(on): whether watching keeps the process from ending by itself
Napi::Value keepAlive(const Napi::CallbackInfo& info) {
  Watcher& watcher = watcherOf(info);
  if (info[0].As<Napi::Boolean>().Value()) {
    watcher.ready_.Ref(info.Env());
  } else {
    watcher.ready_.Unref(info.Env());
  }
  return info.Env().Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("socket", Napi::Function::New(env, makeSocket));
  exports.Set("socketPair", Napi::Function::New(env, socketPair));
  exports.Set("sendAtOnce", Napi::Function::New(env, sendAtOnce));
  exports.Set("read", Napi::Function::New(env, readBytes));
  exports.Set("write", Napi::Function::New(env, writeParts));
  exports.Set("doNotBlock", Napi::Function::New(env, doNotBlock));
  exports.Set("attachTap", Napi::Function::New(env, attachTap));
  exports.Set("tapFlags", Napi::Function::New(env, tapFlags));
  exports.Set("setTapHeader", Napi::Function::New(env, setTapHeader));
  exports.Set("setTapOffload", Napi::Function::New(env, setTapOffload));
  exports.Set("keepTap", Napi::Function::New(env, keepTap));
  exports.Set("bind", Napi::Function::New(env, bindSocket));
  exports.Set("connect", Napi::Function::New(env, connectSocket));
  exports.Set("listen", Napi::Function::New(env, listenSocket));
  exports.Set("accept", Napi::Function::New(env, acceptSocket));
  exports.Set("shutdown", Napi::Function::New(env, shutdownSocket));
  exports.Set("errorOf", Napi::Function::New(env, errorOf));
  exports.Set("duplicate", Napi::Function::New(env, duplicate));
  exports.Set("receive", Napi::Function::New(env, receive));
  exports.Set("send", Napi::Function::New(env, send));
  exports.Set("openTerminal", Napi::Function::New(env, openTerminal));
  exports.Set("terminalNumber", Napi::Function::New(env, terminalNumber));
  exports.Set("hungUp", Napi::Function::New(env, hungUp));
  exports.Set("beginWatching", Napi::Function::New(env, beginWatching));
  exports.Set("watch", Napi::Function::New(env, watch));
  exports.Set("keepAlive", Napi::Function::New(env, keepAlive));
  return exports;
}

}  // namespace

NODE_API_MODULE(native_socket, init)
