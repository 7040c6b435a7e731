#include <string>
#include <vector>

#include "csrc/bindings/bindings.h"
#include "csrc/bindings/utf8.h"
#include "csrc/check.h"
#include "csrc/rewards/verify_choice.h"

namespace r1::bindings {
namespace {

py::list verify_choice_rows(const py::sequence& completions, const py::sequence& golds,
                            const py::sequence& options) {
  const Utf8Texts completion_texts("verify_choice", "completions", completions);
  const Utf8Texts gold_texts("verify_choice", "golds", golds);
  const std::size_t count = completion_texts.views().size();
  if (gold_texts.views().size() != count || options.size() != count) {
    reject("verify_choice", "golds and options must be one per completion, ", count, "; got ",
           gold_texts.views().size(), " and ", options.size());
  }
  std::vector<Utf8Texts> option_texts;
  option_texts.reserve(count);
  for (const py::handle row : options) {
    if (!py::isinstance<py::sequence>(row) || py::isinstance<py::str>(row)) {
      reject("verify_choice", "options must be a list of texts per row; got ",
             Py_TYPE(row.ptr())->tp_name, " at ", option_texts.size());
    }
    option_texts.emplace_back("verify_choice", "options", row.cast<py::sequence>());
  }
  std::vector<Verdict> verdicts(count);
  {
    const py::gil_scoped_release release;
    for (std::size_t n = 0; n < count; ++n) {
      verdicts[n] = verify_choice(completion_texts.views()[n], gold_texts.views()[n],
                                  option_texts[n].views());
    }
  }
  py::list rows(count);
  for (std::size_t n = 0; n < count; ++n) {
    rows[n] = py::make_tuple(std::string(name(verdicts[n].status)), to_python(verdicts[n].answer));
  }
  return rows;
}

}  // namespace

void bind_choice(py::module_& m) {
  m.def("verify_choice", &verify_choice_rows, "completions"_a, "golds"_a, "options"_a,
        "(status, answer) per completion; see r1core.rewards.verify_choice");
}

}  // namespace r1::bindings
