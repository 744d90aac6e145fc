// The target's functions are static inline in include/CMicroHTTPD.h; SwiftPM wants one source file.
