// The target's functions are static inline in include/CYAML.h; SwiftPM wants one source file.
