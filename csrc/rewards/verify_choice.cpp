#include "csrc/rewards/verify_choice.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <vector>

#include "csrc/rewards/answer.h"
#include "csrc/rewards/answer_marker.h"
#include "csrc/rewards/choice_letters.h"
#include "csrc/rewards/math/spelling.h"
#include "csrc/rewards/scan.h"

namespace r1 {
namespace {

using Text = std::string_view;

constexpr std::size_t kReach = 4'096;  // bytes from the end in which a choice counts
constexpr std::size_t kLongestOption = 400;

struct Choice {
  Letters letters = 0;
  Text where;  // null where there is none
};

/// Where a completion says its choice.
class ChoiceFinder {
 public:
  explicit ChoiceFinder(std::span<const Text> options)
      : count_(options.empty() ? 10 : static_cast<int>(std::min<std::size_t>(options.size(), 26))) {
    for (const Text option : options)
      folded_.push_back(math::fold_words(option.substr(0, kLongestOption)));
  }

  int count() const { return count_; }

  Choice find(Text completion) const {
    const std::size_t thought = rfind_token(completion, "</think>");
    const bool closed = thought != Text::npos;
    Text text = closed ? completion.substr(thought + 8) : completion;
    const bool open = !closed && rfind_token(text, "<think>") != Text::npos;
    const std::size_t tag = rfind_token(text, "</answer>");
    if (tag != Text::npos) {
      const std::size_t begin = rfind_token(text, "<answer>", tag);
      if (begin != Text::npos) {
        const Text body = trim(text.substr(begin + 8, tag - begin - 8));
        const Choice choice = stretch(body, true);
        return choice.letters != 0 || body.size() < 3 ? choice : in_prose(body);
      }
    }
    if (open) return {};
    return in_prose(trim(text));
  }

  /// The letter of the option with that text; 0 for none.
  Letters by_text(Text text) const {
    if (folded_.empty() || text.empty() || text.size() > kLongestOption) return 0;
    const std::string words = math::fold_words(text);
    if (words.empty()) return 0;
    const auto found = std::find(folded_.begin(), folded_.end(), words);
    return found == folded_.end() ? 0 : Letters{1} << (found - folded_.begin());
  }

 private:
  /// The choice that a stretch states at its beginning.
  Choice stretch(Text text, bool lower_case) const {
    text = trim(text);
    for (const Text refuted : {Text("not "), Text("nicht "), Text("pas "), Text("no ")}) {
      if (!starts_with_folded(text, refuted)) continue;
      std::size_t but = Text::npos, size = 0;
      for (const Text word : {Text(" but "), Text(" sondern "), Text(" mais "), Text(" sino ")}) {
        if (text.find(word) < but) but = text.find(word), size = word.size();
      }
      return but == Text::npos ? Choice{} : stretch(text.substr(but + size), lower_case);
    }
    const std::size_t line_end = text.find('\n');
    const Text line = trim(text.substr(0, line_end));
    if (const Letters option = by_text(line)) return {option, line};
    if (const Letters letters = leading_letters(text, count_, lower_case)) return {letters, line};
    const Letters run = line.size() > 1 && line.size() <= 6 ? only_letters(line, count_) : 0;
    if (run != 0) return {run, line};
    const std::size_t stop = line.find(". ");
    if (const Letters option = by_text(line.substr(0, stop))) return {option, line.substr(0, stop)};
    return {};
  }

  Choice in_prose(Text text) const {
    if (const Choice boxed = in_box(text); boxed.where.data() != nullptr) return boxed;
    const Text tail = text.size() > kReach ? text.substr(text.size() - kReach) : text;
    for (std::size_t at = tail.size(); at-- > 0;) {
      if (const Choice choice = announced(tail, at); choice.letters != 0) return choice;
    }
    for (std::size_t at = tail.size(); at-- > 0;) {
      if (const Choice choice = bold(tail, at); choice.letters != 0) return choice;
    }
    return on_last_line(tail);
  }

  Choice in_box(Text text) const {
    const std::size_t at = std::max(rfind_or_zero(text, "\\boxed"), rfind_or_zero(text, "\\fbox"));
    if (at == 0) return {};
    const std::size_t open = text.find('{', at - 1);
    if (open == Text::npos || open > at + 8) return {};
    const Text body = braced(text, open);
    if (body.data() == nullptr) return {};
    const Choice choice = stretch(body, true);
    return {choice.letters, trim(body)};
  }

  /// One more than where a token last begins; 0 where it does not.
  static std::size_t rfind_or_zero(Text text, Text token) { return rfind_token(text, token) + 1; }

  /// What a marker that begins at `at` announces.
  Choice announced(Text text, std::size_t at) const {
    const Text rest = text.substr(at);
    const bool word_before = at > 0 && is_letter(text[at - 1]);
    if (const Choice chinese = announced_in_chinese(rest); chinese.letters != 0) return chinese;
    if (word_before) return {};
    if (rest.starts_with("####")) return stretch(rest.substr(4), true);
    static constexpr auto kNouns = std::to_array<Text>(
        {"answer", "r\xc3\xa9ponse", "reponse", "antwort", "respuesta", "solution", "l\xc3\xb6sung",
         "option", "choice", "opci\xc3\xb3n", "opcion", "choix", "letter", "alternative", "one",
         "richtig", "selection", "conclusion"});
    for (const Text noun : kNouns) {
      if (!starts_with_folded(rest, noun)) continue;
      Text behind = rest.substr(noun.size());
      if (behind.starts_with('s')) behind.remove_prefix(1);
      if (!behind.empty() && is_letter(behind[0])) continue;
      const bool generic = noun == "option" || noun == "choice" || noun == "alternative" ||
                           noun == "opci\xc3\xb3n" || noun == "letter" || noun == "one" ||
                           noun == "opcion" || noun == "choix";
      if (generic && !judged_right(text.substr(0, at), behind)) continue;
      for (const Text adjective : {Text(" correcte"), Text(" correcta"), Text(" finale"),
                                   Text(" final"), Text(" juste")}) {
        if (starts_with_folded(behind, adjective)) behind.remove_prefix(adjective.size());
      }
      const Text value = skip_announcing_words(behind);
      if (value.data() != nullptr) {
        if (const Choice choice = stretch(skip_line(value), true);
            choice.letters != 0 && !refuted(choice))
          return choice;
      }
      // "Answer B", "**Answer** (C)"
      if (!generic) {
        if (const Choice choice = stretch(strip_stars(behind), false);
            choice.letters != 0 && std::popcount(choice.letters) == 1 && !refuted(choice))
          return choice;
      }
    }
    for (const Text verb : {Text("choose"), Text("select"), Text("pick"), Text("go with"),
                            Text("going with"), Text("opt for"), Text("chose"), Text("choosing"),
                            Text("w\xc3\xa4hle"), Text("elijo"), Text("choisis")}) {
      if (!starts_with_folded(rest, verb)) continue;
      if (const Choice choice = stretch(rest.substr(verb.size()), false); choice.letters != 0)
        return choice;
    }
    return declared(text, at);
  }

  static Text skip_line(Text value) {
    while (!value.empty() && (is_space(value.front()) || value.front() == '*'))
      value.remove_prefix(1);
    return value;
  }

  static Text strip_stars(Text value) {
    while (!value.empty() && (value.front() == '*' || value.front() == ' ' || value.front() == ':'))
      value.remove_prefix(1);
    return value;
  }

  /// Whether "option" speaks of the right one: "the correct option", or "option ... is".
  static bool judged_right(Text before, Text behind) {
    before = trim(before);
    for (const Text word : {Text("correct"), Text("right"), Text("best"), Text("final"),
                            Text("true"), Text("bonne"), Text("richtige"), Text("appropriate"),
                            Text("likely"), Text("suitable"), Text("my"), Text("accurate")}) {
      if (before.size() >= word.size() &&
          starts_with_folded(before.substr(before.size() - word.size()), word))
        return true;
    }
    return starts_with_folded(behind, " correcta") || starts_with_folded(behind, " correcte") ||
           starts_with_folded(behind, " correct is");
  }

  /// "B is correct", "(C) is the right answer"; not "B is not correct".
  Choice declared(Text text, std::size_t at) const {
    const bool starts = at == 0 || !(is_letter(text[at - 1]) || is_digit(text[at - 1]) ||
                                     text[at - 1] == '\'' || text[at - 1] == '\\');
    if (!starts || !(text[at] >= 'A' && text[at] <= 'Z')) return {};
    const int index = text[at] - 'A';
    if (index >= count_) return {};
    Text behind = text.substr(at + 1);
    while (!behind.empty() && Text(")]}*.:$").find(behind.front()) != Text::npos)
      behind.remove_prefix(1);
    static constexpr auto kRight = std::to_array<Text>({" is correct",
                                                        " is the correct",
                                                        " is right",
                                                        " is the right",
                                                        " is the answer",
                                                        " is the best",
                                                        " is true",
                                                        " is therefore correct",
                                                        " is therefore the correct",
                                                        " must be correct",
                                                        " must be the",
                                                        " is the most",
                                                        " ist richtig",
                                                        " ist korrekt",
                                                        " ist die richtige",
                                                        " est correct",
                                                        " est la bonne",
                                                        " est juste",
                                                        " es correcta",
                                                        " es la correcta",
                                                        " es la respuesta",
                                                        " est la r",
                                                        " is my answer",
                                                        " is the final",
                                                        " appears to be the correct",
                                                        " seems to be the correct",
                                                        " is indeed correct"});
    static constexpr auto kRightChinese = std::to_array<Text>(
        {"\xe6\xad\xa3\xe7\xa1\xae", "\xe9\x80\x89\xe9\xa1\xb9\xe6\xad\xa3\xe7\xa1\xae",
         "\xe6\x98\xaf\xe6\xad\xa3\xe7\xa1\xae", "\xe9\xa1\xb9\xe6\xad\xa3\xe7\xa1\xae"});
    const bool right = std::any_of(kRight.begin(), kRight.end(),
                                   [&](Text t) { return starts_with_folded(behind, t); }) ||
                       std::any_of(kRightChinese.begin(), kRightChinese.end(),
                                   [&](Text t) { return behind.starts_with(t); });
    if (!right) return {};
    return {Letters{1} << index, text.substr(at, 1)};
  }

  /// "The answer is A is wrong" and the like: what is said of the letter takes it back.
  static bool refuted(const Choice& choice) {
    for (const Text word : {Text(" is wrong"), Text(" is incorrect"), Text(" is not "),
                            Text(" cannot be"), Text(" is false")}) {
      const std::size_t at = choice.where.find(word);
      if (at != Text::npos && at < 12) return true;
    }
    return false;
  }

  Choice announced_in_chinese(Text rest) const {
    if (rest.empty() || static_cast<unsigned char>(rest[0]) < 0x80) return {};
    if (rest.starts_with("\xe7\xad\x94\xe6\xa1\x88")) {  // answer
      Text behind = rest.substr(6);
      if (behind.starts_with("\xe3\x80\x91")) behind.remove_prefix(3);  // in black brackets
      const Text value = skip_chinese_copula(behind);
      return stretch(value.data() != nullptr ? value : behind, true);
    }
    if (rest.starts_with("\xe9\x80\x89")) {  // choose
      Text value = rest.substr(3);
      for (const Text part : {Text("\xe6\x8b\xa9"), Text("\xe9\xa1\xb9")}) {
        if (value.starts_with(part)) value.remove_prefix(part.size());
      }
      const Text behind = skip_chinese_copula(value);
      const Choice choice = stretch(behind.data() != nullptr ? behind : value, false);
      // "option B is wrong"
      const bool wrong = choice.where.find("\xe9\x94\x99\xe8\xaf\xaf") != Text::npos ||
                         choice.where.find("\xe4\xb8\x8d\xe6\xad\xa3\xe7\xa1\xae") != Text::npos;
      return wrong ? Choice{} : choice;
    }
    return {};
  }

  /// **B** or **(B) foo**, as the last thing in bold.
  Choice bold(Text text, std::size_t at) const {
    if (!text.substr(at).starts_with("**") || at + 2 >= text.size() || is_space(text[at + 2]))
      return {};
    const std::size_t close = text.find("**", at + 2);
    if (close == Text::npos || close - at > kLongestOption) return {};
    const Text body = text.substr(at + 2, close - at - 2);
    const Letters letters = leading_letters(body, count_, false);
    return letters != 0 ? Choice{letters, body} : Choice{};
  }

  Choice on_last_line(Text text) const {
    const Text line = last_line(text);
    if (line.empty()) return {};
    const Text before = text.substr(0, static_cast<std::size_t>(line.data() - text.data()));
    const Letters letters = leading_letters(line, count_, line.size() <= 4);
    // A list of all the options ends in a letter, too.
    const bool listed = letters != 0 && leading_letters(last_line(before), count_, false) != 0;
    if (letters != 0 && !listed && !refuted({letters, line})) return {letters, line};
    const Letters option = by_text(line);
    return option != 0 ? Choice{option, line} : Choice{};
  }

  int count_;
  std::vector<std::string> folded_;
};

Letters gold_letters(Text gold, const ChoiceFinder& finder) {
  gold = trim(find_gold_answer(gold));
  if (const Letters option = finder.by_text(gold); option != 0 && gold.size() > 1) return option;
  const Letters letters = only_letters(gold, finder.count());
  if (letters != 0) return letters;
  return finder.by_text(gold);
}

}  // namespace

Verdict verify_choice(Text completion, Text gold, std::span<const Text> options) {
  const ChoiceFinder finder(options);
  const Letters wanted = gold_letters(gold, finder);
  const Choice choice = finder.find(completion);
  Verdict verdict{VerdictStatus::unparsed_gold, choice.where};
  if (wanted == 0) return verdict;
  const bool several = std::popcount(choice.letters) > 1 && std::popcount(wanted) == 1;
  if (choice.letters == 0 || several) {
    verdict.status = VerdictStatus::no_answer;
  } else {
    verdict.status = choice.letters == wanted ? VerdictStatus::correct : VerdictStatus::wrong;
  }
  return verdict;
}

}  // namespace r1
