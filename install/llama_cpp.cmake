# Read by CMake right after llama.cpp's own project(): the package needs libllama and ggml, and not the library that
# llama.cpp's command-line tools share, which takes longer to compile than both.
set(LLAMA_BUILD_COMMON OFF CACHE BOOL "llama.cpp's library for its tools" FORCE)
