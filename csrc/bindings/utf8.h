#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "csrc/bindings/bindings.h"
#include "csrc/check.h"

namespace r1::bindings {

/// UTF-8 views of Python strings, without a copy but for the rare text with lone surrogates, which
/// strict UTF-8 cannot spell. Holds a reference to each, so the views outlive the GIL.
class Utf8Texts {
 public:
  Utf8Texts(const char* function, const char* argument, const py::sequence& texts) {
    owners_.reserve(texts.size());
    views_.reserve(texts.size());
    for (const py::handle item : texts) {
      if (!PyUnicode_Check(item.ptr())) {
        reject(function, argument, " must be strings; got ", Py_TYPE(item.ptr())->tp_name, " at ",
               views_.size());
      }
      add(item);
    }
  }

  std::span<const std::string_view> views() const { return views_; }

 private:
  void add(py::handle item) {
    Py_ssize_t size = 0;
    if (const char* data = PyUnicode_AsUTF8AndSize(item.ptr(), &size)) {
      owners_.push_back(py::reinterpret_borrow<py::object>(item));
      views_.emplace_back(data, static_cast<std::size_t>(size));
      return;
    }
    PyErr_Clear();
    PyObject* bytes = PyUnicode_AsEncodedString(item.ptr(), "utf-8", "surrogatepass");
    if (bytes == nullptr) throw py::error_already_set();
    owners_.push_back(py::reinterpret_steal<py::object>(bytes));
    views_.emplace_back(PyBytes_AS_STRING(bytes),
                        static_cast<std::size_t>(PyBytes_GET_SIZE(bytes)));
  }

  std::vector<py::object> owners_;
  std::vector<std::string_view> views_;
};

inline py::object to_python(std::string_view text) {
  if (text.data() == nullptr) return py::none();
  PyObject* decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogatepass");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(decoded);
}

}  // namespace r1::bindings
