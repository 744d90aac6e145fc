#pragma once
// epoll, and what else of Linux's sockets and timers the Glibc module leaves out.
#include <stdint.h>
#include <sys/epoll.h>

// A timer of the monotonic clock as a nonblocking descriptor; -1 and errno when there can be none.
int apus_timer_create(void);

// Lets the timer expire once when the clock says so many nanoseconds; 0 stops it.
int apus_timer_set(int timer, uint64_t nanoseconds);

// The next connection of a listener, nonblocking; -1 and errno when there is none.
int apus_accept(int listener);
