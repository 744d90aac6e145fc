#pragma once
// XXH3 of libxxhash, which picks its vector code at run time.
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>
