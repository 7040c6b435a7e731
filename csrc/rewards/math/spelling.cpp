#include "csrc/rewards/math/spelling.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "csrc/rewards/text.h"

namespace r1::math {
namespace {

struct Spelling {
  std::string_view written, latex;
};

// Sorted by code point, so that a search can halve it.
constexpr auto kSpellings = std::to_array<Spelling>({
    {"\u00a0", " "},
    {"\u00a2", "\\text{ cents}"},
    {"\u00a3", "\\pounds "},
    {"\u00a5", "\\yen "},
    {"\u00ac", "\\neg "},
    {"\u00b0", "^{\\circ}"},
    {"\u00b1", "\\pm "},
    {"\u00b2", "^{2}"},
    {"\u00b3", "^{3}"},
    {"\u00b7", "\\cdot "},
    {"\u00b9", "^{1}"},
    {"\u00bc", "\\frac{1}{4}"},
    {"\u00bd", "\\frac{1}{2}"},
    {"\u00be", "\\frac{3}{4}"},
    {"\u00d7", "\\times "},
    {"\u00f7", "/"},
    {"\u0391", "A"},
    {"\u0392", "B"},
    {"\u0393", "\\Gamma "},
    {"\u0394", "\\Delta "},
    {"\u0398", "\\Theta "},
    {"\u039b", "\\Lambda "},
    {"\u03a0", "\\prod "},
    {"\u03a3", "\\sum "},
    {"\u03a6", "\\Phi "},
    {"\u03a8", "\\Psi "},
    {"\u03a9", "\\Omega "},
    {"\u03b1", "\\alpha "},
    {"\u03b2", "\\beta "},
    {"\u03b3", "\\gamma "},
    {"\u03b4", "\\delta "},
    {"\u03b5", "\\epsilon "},
    {"\u03b6", "\\zeta "},
    {"\u03b7", "\\eta "},
    {"\u03b8", "\\theta "},
    {"\u03b9", "\\iota "},
    {"\u03ba", "\\kappa "},
    {"\u03bb", "\\lambda "},
    {"\u03bc", "\\mu "},
    {"\u03bd", "\\nu "},
    {"\u03be", "\\xi "},
    {"\u03c0", "\\pi "},
    {"\u03c1", "\\rho "},
    {"\u03c3", "\\sigma "},
    {"\u03c4", "\\tau "},
    {"\u03c6", "\\phi "},
    {"\u03c7", "\\chi "},
    {"\u03c8", "\\psi "},
    {"\u03c9", "\\omega "},
    {"\u2002", " "},
    {"\u2003", " "},
    {"\u2005", " "},
    {"\u2006", "\\,"},
    {"\u2007", "\\,"},
    {"\u2008", "\\,"},
    {"\u2009", "\\,"},
    {"\u200a", "\\,"},
    {"\u200b", ""},
    {"\u200c", ""},
    {"\u200d", ""},
    {"\u200e", ""},
    {"\u200f", ""},
    {"\u2010", "-"},
    {"\u2011", "-"},
    {"\u2012", "-"},
    {"\u2013", "-"},
    {"\u2014", "-"},
    {"\u2018", "'"},
    {"\u2019", "'"},
    {"\u201c", "\""},
    {"\u201d", "\""},
    {"\u2026", "\\ldots "},
    {"\u202f", "\\,"},
    {"\u2032", "'"},
    {"\u2044", "/"},
    {"\u2061", ""},
    {"\u2062", "\\cdot "},
    {"\u2070", "^{0}"},
    {"\u2071", "^{i}"},
    {"\u2074", "^{4}"},
    {"\u2075", "^{5}"},
    {"\u2076", "^{6}"},
    {"\u2077", "^{7}"},
    {"\u2078", "^{8}"},
    {"\u2079", "^{9}"},
    {"\u207a", "^{+}"},
    {"\u207b", "^{-}"},
    {"\u207d", "^{(}"},
    {"\u207e", "^{)}"},
    {"\u207f", "^{n}"},
    {"\u2080", "_{0}"},
    {"\u2081", "_{1}"},
    {"\u2082", "_{2}"},
    {"\u2083", "_{3}"},
    {"\u2084", "_{4}"},
    {"\u2085", "_{5}"},
    {"\u2086", "_{6}"},
    {"\u2087", "_{7}"},
    {"\u2088", "_{8}"},
    {"\u2089", "_{9}"},
    {"\u208a", "_{+}"},
    {"\u208b", "_{-}"},
    {"\u20ac", "\\euro "},
    {"\u2102", "\\mathbb{C}"},
    {"\u2115", "\\mathbb{N}"},
    {"\u211a", "\\mathbb{Q}"},
    {"\u211d", "\\mathbb{R}"},
    {"\u2124", "\\mathbb{Z}"},
    {"\u2153", "\\frac{1}{3}"},
    {"\u2154", "\\frac{2}{3}"},
    {"\u2155", "\\frac{1}{5}"},
    {"\u2156", "\\frac{2}{5}"},
    {"\u2157", "\\frac{3}{5}"},
    {"\u2158", "\\frac{4}{5}"},
    {"\u2159", "\\frac{1}{6}"},
    {"\u215a", "\\frac{5}{6}"},
    {"\u215b", "\\frac{1}{8}"},
    {"\u215c", "\\frac{3}{8}"},
    {"\u215d", "\\frac{5}{8}"},
    {"\u215e", "\\frac{7}{8}"},
    {"\u2205", "\\emptyset "},
    {"\u2206", "\\Delta "},
    {"\u2208", "\\in "},
    {"\u220f", "\\prod "},
    {"\u2211", "\\sum "},
    {"\u2212", "-"},
    {"\u2213", "\\mp "},
    {"\u2215", "/"},
    {"\u2216", "\\setminus "},
    {"\u2217", "*"},
    {"\u2218", "\\circ "},
    {"\u2219", "\\cdot "},
    {"\u221a", "\\sqrt "},
    {"\u221b", "\\sqrt[3] "},
    {"\u221c", "\\sqrt[4] "},
    {"\u221e", "\\infty "},
    {"\u2220", "\\angle "},
    {"\u2223", "|"},
    {"\u2227", "\\land "},
    {"\u2228", "\\lor "},
    {"\u2229", "\\cap "},
    {"\u222a", "\\cup "},
    {"\u2236", ":"},
    {"\u2248", "\\approx "},
    {"\u2260", "\\neq "},
    {"\u2261", "\\equiv "},
    {"\u2264", "\\leq "},
    {"\u2265", "\\geq "},
    {"\u2286", "\\subseteq "},
    {"\u22c5", "\\cdot "},
    {"\u2308", "\\lceil "},
    {"\u2309", "\\rceil "},
    {"\u230a", "\\lfloor "},
    {"\u230b", "\\rfloor "},
    {"\u27e8", "\\langle "},
    {"\u27e9", "\\rangle "},
    {"\u2a7d", "\\leq "},
    {"\u2a7e", "\\geq "},
    {"\u3000", " "},
    {"\u3001", ","},
    {"\u3002", "."},
    {"\ufeff", ""},
});

static_assert(std::is_sorted(kSpellings.begin(), kSpellings.end(),
                             [](const Spelling& a, const Spelling& b) {
                               return a.written < b.written;
                             }),
              "kSpellings is searched by bisection");

/// The length of the UTF-8 sequence at the front by its first byte alone; 1 for any odd byte.
std::size_t sequence_length(unsigned char lead) {
  return lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc2 ? 2 : 1;
}

/// Full-width forms U+FF01 to U+FF5E are ASCII's, a fixed way up.
char narrow(std::string_view sequence) {
  if (sequence.size() != 3 || sequence[0] != '\xef') return 0;
  const auto middle = static_cast<unsigned char>(sequence[1]),
             low = static_cast<unsigned char>(sequence[2]);
  const int code = 0xf000 + (middle & 0x3f) * 64 + (low & 0x3f);
  return code >= 0xff01 && code <= 0xff5e ? static_cast<char>(code - 0xff01 + '!') : 0;
}

/// Joins what several superscript characters have become: "^{1}^{2}" is "^{12}".
void append(std::string& out, std::string_view latex) {
  const bool script = latex.size() > 3 && (latex[0] == '^' || latex[0] == '_') && latex[1] == '{' &&
                      latex[2] != '\\';
  if (script && out.size() > 3 && out.back() == '}') {
    const std::size_t open = out.rfind('{');
    if (open != out.npos && open > 0 && out[open - 1] == latex[0] &&
        out.find('\\', open) == out.npos) {
      out.pop_back();
      out.append(latex.substr(2));
      return;
    }
  }
  out.append(latex);
}

}  // namespace

std::string to_latex(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 16);
  for (std::size_t at = 0; at < text.size();) {
    const auto lead = static_cast<unsigned char>(text[at]);
    if (lead < 0x80) {
      out.push_back(text[at++]);
      continue;
    }
    const std::string_view sequence = text.substr(at, sequence_length(lead));
    at += sequence.size();
    const auto* found =
        std::lower_bound(kSpellings.begin(), kSpellings.end(), sequence,
                         [](const Spelling& s, std::string_view key) { return s.written < key; });
    if (found != kSpellings.end() && found->written == sequence) {
      append(out, found->latex);
    } else if (const char ascii = narrow(sequence)) {
      out.push_back(ascii);
    } else {
      out.append(sequence);
    }
  }
  return out;
}

std::string fold_words(std::string_view text) {
  const std::string latex = to_latex(text);
  std::string out;
  bool blank = false;
  for (std::size_t at = 0; at < latex.size(); ++at) {
    const char c = latex[at];
    if (c == '\\') {
      // \text and its kin, \mathrm, \left go by name; a command of one sign is that sign or a
      // blank.
      std::size_t end = at + 1;
      while (end < latex.size() && is_letter(latex[end])) ++end;
      blank = blank || end == at + 1;
      at = end == at + 1 && end < latex.size() && !is_punctuation(latex[end]) ? end : end - 1;
      continue;
    }
    if (is_space(c) || c == '-' || c == '_' || c == '~') {
      blank = true;
    } else if (!is_punctuation(c)) {
      if (blank && !out.empty()) out.push_back(' ');
      blank = false;
      out.push_back(to_lower(c));
    }
  }
  for (const std::string_view article : {"the ", "a ", "an "}) {
    if (out.starts_with(article)) out.erase(0, article.size());
  }
  return out;
}

}  // namespace r1::math
