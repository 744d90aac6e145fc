// The target's functions are static inline in include/CXXHash.h; SwiftPM wants one source file.
