#pragma once
// What Swift's Glibc module leaves out: the allocator's own view of itself.
#include <malloc.h>
