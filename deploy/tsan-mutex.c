// ThreadSanitizer does not see Swift's Mutex when it is contended: its slow path lies in a library that is not
// instrumented, so orderly accesses are reported as races. This library, preloaded, stands in front of the slow path and
// says what it does. The fast path is compiled into the program and needs no help.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

// Present in instrumented programs only; others that inherit the preloading are left alone.
extern void __tsan_acquire(void *address) __attribute__((weak));
extern void __tsan_release(void *address) __attribute__((weak));

#define SELF __attribute__((swift_context)) void *handle
#define SWIFT __attribute__((swiftcall))

static SWIFT void (*next_lock)(uint32_t, SELF);
static SWIFT bool (*next_try_lock)(SELF);
static SWIFT void (*next_unlock)(SELF);

static void *next(const char *symbol) { return dlsym(RTLD_NEXT, symbol); }

SWIFT void lock_slow(uint32_t thread, SELF) __asm__("$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF");
SWIFT void lock_slow(uint32_t thread, SELF) {
    if (!next_lock) next_lock = next("$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF");
    next_lock(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

SWIFT bool try_lock_slow(SELF) __asm__("$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF");
SWIFT bool try_lock_slow(SELF) {
    if (!next_try_lock) next_try_lock = next("$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF");
    bool locked = next_try_lock(handle);
    if (locked && __tsan_acquire) __tsan_acquire(handle);
    return locked;
}

SWIFT void unlock_slow(SELF) __asm__("$s15Synchronization12_MutexHandleV11_unlockSlowyyF");
SWIFT void unlock_slow(SELF) {
    if (!next_unlock) next_unlock = next("$s15Synchronization12_MutexHandleV11_unlockSlowyyF");
    if (__tsan_release) __tsan_release(handle);
    next_unlock(handle);
}
