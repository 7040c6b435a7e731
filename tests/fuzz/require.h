#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

/// Ends the fuzzer with the input that broke a property.
inline void require(bool holds, const char* property, std::string_view input) {
  if (holds) return;
  std::fprintf(stderr, "property failed: %s\ninput: \"", property);
  for (const char c : input) {
    const auto byte = static_cast<std::uint8_t>(c);
    const bool plain = byte >= ' ' && byte < 127 && c != '"' && c != '\\';
    plain ? std::fputc(c, stderr) : std::fprintf(stderr, "\\%03o", byte);
  }
  std::fprintf(stderr, "\"\n");
  std::abort();
}
