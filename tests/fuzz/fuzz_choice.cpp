// Letters of options: a verdict for any text, the judged part lies in it, one letter at most is
// right.
#include <array>

#include "csrc/rewards/verify_choice.h"
#include "tests/fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using r1::VerdictStatus;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::array<std::string_view, 3> options = {"42", "1/2", text.substr(0, size / 2)};
  for (const bool known : {false, true}) {
    const std::span<const std::string_view> given(options.data(), known ? options.size() : 0);
    int right = 0;
    for (const char letter : {'A', 'B', 'C'}) {
      const r1::Verdict verdict = r1::verify_choice(text, std::string_view(&letter, 1), given);
      right += verdict.status == VerdictStatus::correct;
      if (verdict.answer.data() == nullptr) continue;
      const bool inside = verdict.answer.data() >= text.data() &&
                          verdict.answer.data() + verdict.answer.size() <= text.data() + size;
      require(inside, "what is judged is a part of the text", text);
    }
    require(right <= 1, "one letter at most is right", text);
  }
  return 0;
}
