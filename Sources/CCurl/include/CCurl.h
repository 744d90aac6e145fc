#pragma once
// libcurl, and what Swift cannot import of it (variadic functions).
#include <curl/curl.h>
