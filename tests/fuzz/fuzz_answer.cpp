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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using r1::VerdictStatus;
  const Text text(reinterpret_cast<const char*>(data), size);
  const Text answer = r1::find_answer(text);
  const auto inside = [](Text part, Text whole) {
    return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
  };
  if (answer.data() != nullptr) {
    require(inside(answer, text), "an answer is a part of the text", text);
    require(answer == trim(answer), "answers are trimmed", text);
  }
  const std::size_t thought = text.rfind("</think>");
  const Text said = thought == text.npos ? text : text.substr(thought + 8);
  const bool thinks = thought == text.npos && said.find("<think>") != said.npos;
  std::size_t boxes = 0;
  for (std::size_t at = said.find("box"); at != said.npos; at = said.find("box", at + 1)) ++boxes;
  if (const auto body = last_tag(said)) {
    require(answer.data() != nullptr && inside(answer, *body), "the last tag is the answer", text);
  } else if (thinks) {
    require(answer.data() == nullptr, "an open thought gives no answer", text);
  } else if (const auto box = last_box(said); box && boxes == 1) {
    require(answer.data() != nullptr && answer == trim(*box), "the only box is the answer", text);
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
