#pragma once
// libmicrohttpd, and what Swift cannot import of it (variadic functions).
#include <microhttpd.h>
