#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/bindings/bindings.h"
#include "csrc/bindings/utf8.h"
#include "csrc/check.h"
#include "csrc/rewards/think_format.h"
#include "csrc/rewards/verify_math.h"

namespace r1::bindings {
namespace {

template <class Choice>
Choice choice(const py::handle& policy, const char* field,
              std::initializer_list<const char*> names) {
  const std::string value = py::str(policy.attr(field));
  int index = 0;
  for (const char* name : names) {
    if (value == name) return static_cast<Choice>(index);
    ++index;
  }
  reject("MathPolicy", field, " must be one it knows; got ", value);
}

MathPolicy to_policy(const py::handle& policy) {
  MathPolicy math;
  math.precision = policy.attr("precision").cast<int>();
  math.percent = choice<MathPolicy::Percent>(policy, "percent", {"either", "hundredth", "ignore"});
  math.units = choice<MathPolicy::Units>(policy, "units", {"optional", "required", "ignore"});
  math.base = choice<MathPolicy::Base>(policy, "base", {"value", "digits"});
  math.ordered_lists = policy.attr("ordered_lists").cast<bool>();
  math.open_intervals = policy.attr("open_intervals").cast<bool>();
  math.case_sensitive = policy.attr("case_sensitive").cast<bool>();
  math.last_number = policy.attr("last_number").cast<bool>();
  return math;
}

py::list verify_math_rows(const py::sequence& completions, const py::sequence& golds,
                          const py::object& policy, int threads) {
  const MathPolicy math = to_policy(policy);
  const Utf8Texts completion_texts("verify_math", "completions", completions);
  const Utf8Texts gold_texts("verify_math", "golds", golds);
  const auto completion_views = completion_texts.views(), gold_views = gold_texts.views();
  if (completion_views.size() != gold_views.size()) {
    reject("verify_math", "golds must be one per completion, ", completion_views.size(), "; got ",
           gold_views.size());
  }
  if (threads < 1) reject("verify_math", "threads must be >= 1; got ", threads);

  std::vector<Verdict> verdicts(completion_views.size());
  {
    const py::gil_scoped_release release;
    verify_math(completion_views, gold_views, verdicts, math, threads);
  }
  std::vector<py::str> names;
  for (int i = 0; i < kVerdictStatuses; ++i) {
    names.emplace_back(std::string(name(static_cast<VerdictStatus>(i))));
  }
  py::list rows(verdicts.size());
  for (std::size_t n = 0; n < verdicts.size(); ++n) {
    rows[n] = py::make_tuple(names[static_cast<std::size_t>(verdicts[n].status)],
                             to_python(verdicts[n].answer));
  }
  return rows;
}

std::string math_equal_name(const py::str& answer, const py::str& gold, const py::object& policy) {
  const MathPolicy math = to_policy(policy);
  const Utf8Texts texts("math_equal", "answer and gold", py::make_tuple(answer, gold));
  const py::gil_scoped_release release;
  return std::string(name(math_equal(texts.views()[0], texts.views()[1], math)));
}

std::vector<std::string> format_faults(const py::sequence& texts, const std::string& style) {
  const bool answer = style == "think_answer";
  if (!answer && style != "think_summary") {
    reject("format_faults", "style must be think_answer or think_summary; got ", style);
  }
  const Utf8Texts utf8("format_faults", "texts", texts);
  std::vector<std::string> faults;
  faults.reserve(utf8.views().size());
  for (const std::string_view text : utf8.views()) {
    faults.emplace_back(phrase(
        check_think_format(text, answer ? ThinkStyle::think_answer : ThinkStyle::think_summary)));
  }
  return faults;
}

std::vector<int> single_tags(const py::sequence& texts) {
  const Utf8Texts utf8("single_tags", "texts", texts);
  std::vector<int> counts;
  counts.reserve(utf8.views().size());
  for (const std::string_view text : utf8.views()) counts.push_back(count_single_tags(text));
  return counts;
}

}  // namespace

void bind_rewards(py::module_& m) {
  m.def("verify_math", &verify_math_rows, "completions"_a, "golds"_a, "policy"_a, "threads"_a,
        "(status, answer) per completion; see r1core.rewards.verify_math");
  m.def("math_equal", &math_equal_name, "answer"_a, "gold"_a, "policy"_a,
        "Status of one pair; see r1core.rewards.math_equal");
  m.def("format_faults", &format_faults, "texts"_a, "style"_a,
        "The first rule each text breaks, or \"ok\"; see r1core.rewards.format_faults");
  m.def("single_tags", &single_tags, "texts"_a,
        "How many of the four tags each text has exactly once; see r1core.rewards.single_tags");
}

}  // namespace r1::bindings
