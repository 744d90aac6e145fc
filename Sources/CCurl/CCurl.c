// The target's functions are static inline in include/CCurl.h; SwiftPM wants one source file.
