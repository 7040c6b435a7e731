// The answer finder against a search that tries every place; and the properties of a verdict.
#include <optional>
#include <string>

#include "csrc/rewards/answer.h"
#include "csrc/rewards/math_equal.h"
#include "csrc/rewards/number.h"
#include "tests/fuzz/require.h"

namespace {

using Text = std::string_view;

Text trim(Text text) {
  const std::size_t begin = text.find_first_not_of(" \t\n\v\f\r");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n\v\f\r") - begin + 1);
}

/// The contents of a box that begins exactly at `at`.
std::optional<Text> box_at(Text text, std::size_t at) {
  for (const Text name : {Text("\\boxed{"), Text("\\fbox{")}) {
    if (!text.substr(at).starts_with(name)) continue;
    int depth = 1;
    for (std::size_t i = at + name.size(); i < text.size(); ++i) {
      if (text[i] == '\\')
        ++i;
      else if (text[i] == '{')
        ++depth;
      else if (text[i] == '}' && --depth == 0)
        return text.substr(at + name.size(), i - at - name.size());
    }
  }
  return std::nullopt;
}

std::optional<Text> last_box(Text text) {
  for (std::size_t at = text.size(); at-- > 0;) {
    if (const auto body = box_at(text, at)) return body;
  }
  return std::nullopt;
}

/// Takes the last pair of tags: the last `<answer>` that still has a `</answer>` behind it.
std::optional<Text> last_tag(Text text) {
  for (std::size_t at = text.size(); at-- > 0;) {
    if (!text.substr(at).starts_with("<answer>")) continue;
    const Text rest = text.substr(at + 8);
    const std::size_t close = rest.find("</answer>");
    if (close != rest.npos) return rest.substr(0, close);
  }
  return std::nullopt;
}

std::optional<Text> find(Text text) {
  const std::size_t thought = text.rfind("</think>");
  if (thought != text.npos) text = text.substr(thought + 8);
  if (const auto body = last_tag(text)) return last_box(*body).value_or(*body);
  if (thought == text.npos && text.find("<think>") != text.npos) return std::nullopt;
  return last_box(text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using r1::VerdictStatus;
  const Text text(reinterpret_cast<const char*>(data), size);
  const Text answer = r1::find_answer(text);
  const std::optional<Text> expected = find(text);
  // The finder stops after 16 boxes that are never closed; so far the oracle need not follow.
  std::size_t boxes = 0;
  for (std::size_t at = text.find("box{"); at != text.npos; at = text.find("box{", at + 1)) ++boxes;
  for (std::size_t at = text.find("boxed{"); at != text.npos; at = text.find("boxed{", at + 1)) {
    ++boxes;
  }
  if (boxes <= 16) {
    require((answer.data() != nullptr) == expected.has_value(), "an answer is found", text);
    if (expected) require(answer == trim(*expected), "it is the right one", text);
  }
  const Text gold = r1::find_gold_answer(text);
  require(gold == trim(gold), "golds are trimmed", text);

  // The text's two halves as answer and gold, and the other way round.
  const Text left = text.substr(0, size / 2), right = text.substr(size / 2);
  const VerdictStatus forth = r1::math_equal(left, right), back = r1::math_equal(right, left);
  const auto judged = [](VerdictStatus status) {
    return status == VerdictStatus::correct || status == VerdictStatus::wrong;
  };
  require(judged(forth) == judged(back) && (!judged(forth) || forth == back), "symmetric", text);
  if (r1::parse_number(answer)) {
    const VerdictStatus self = r1::math_equal(answer, answer);
    require(self == VerdictStatus::correct || self == VerdictStatus::over_limit, "reflexive", text);
  }
  return 0;
}
