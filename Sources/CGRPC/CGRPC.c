// The target's functions are static inline in include/CGRPC.h; SwiftPM wants one source file.
