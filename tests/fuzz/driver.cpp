// Runs a libFuzzer target without libFuzzer: mutates a small corpus, the same way for the same
// seed.
//   fuzz_answer [seconds, default $FUZZ_SECONDS or 20] [seed, default 0]
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

const std::vector<std::string> kSeeds = {
    "<think>a</think><answer>4</answer>",
    "<think>\n\\boxed{\\frac{1}{2}}\n</think> \\boxed{3}",
    "\\fbox{\\{1\\}} <answer> \\boxed{4} </answer>",
    "9 * 2 = $18\n#### 1,234.50",
    "",
    "\\frac{-1}{2}|-0.5",
    "45%|$0.45",
    "999/99900|**1%**",
    "1,234.50|{1234.5}.",
    "x=\\pm2;\\{2,-2\\}",
    "(-\\infty,3]\\cup[4,5);x\\le3 \\text{ or } 4\\le x<5",
    "\\sqrt{3+2\\sqrt2};1+\\sqrt[2]{2}",
    "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix};2x+y=3",
    "\\sin^2 30^\\circ+\\log_2 8;5\\text{ cm}^2",
    "0.\\overline{3}+2\\frac12-1A_{16};4:30 p.m.",
    "|x-\\lfloor x\\rfloor|!;\\binom{n}{2}^{e^{i\\pi}}",
    "\\sum_{k=1}^{9}k^2;\\{x\\mid x>3\\}",
    "The correct answer is **(B)**.\n\u7b54\u6848\uff1aC",
    "wait wait, so $x + 1$ is `f(x)` \\(y\\)",
    "\\begin{a} b \\end{a} https://a.b/c 我们\u200B先 w\u0430it",
    "数を足す Python을 ภาษา \u202Eمی\u200Cخ <b> ```c"};
const std::vector<std::string> kTokens = {"<think>",
                                          "</think>",
                                          "<answer>",
                                          "</answer>",
                                          "\\boxed{",
                                          "\\fbox{",
                                          "boxed{",
                                          "{",
                                          "}",
                                          "\\",
                                          "#### ",
                                          "<",
                                          "\n",
                                          " ",
                                          "7",
                                          "-",
                                          ",",
                                          "/",
                                          "|",
                                          "0",
                                          "%",
                                          "\\frac{",
                                          ".",
                                          "$",
                                          ";",
                                          "x",
                                          "^{",
                                          "_{",
                                          "(",
                                          ")",
                                          "[",
                                          "]",
                                          "!",
                                          "=",
                                          "<",
                                          "\\le ",
                                          "\\pm ",
                                          "\\sqrt{",
                                          "\\pi ",
                                          "i",
                                          "e",
                                          "+",
                                          "*",
                                          ":",
                                          "\\cup ",
                                          "\\infty ",
                                          "\\text{",
                                          "and ",
                                          "or ",
                                          "answer is ",
                                          "B",
                                          "**",
                                          "\\begin{pmatrix}",
                                          "&",
                                          "\\\\",
                                          "\\end{pmatrix}",
                                          "\\{",
                                          "\\}",
                                          "\\log_",
                                          "\\sin ",
                                          "cm",
                                          "^\\circ ",
                                          "1,234",
                                          "e5"};

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::string mutate(std::string text) {
    for (std::size_t edits = 1 + below(6); edits > 0; --edits) edit(text);
    return text.substr(0, 4096);
  }

  /// Not std::uniform_int_distribution: its numbers differ between standard libraries.
  std::size_t below(std::size_t bound) { return random_() % bound; }

 private:
  void edit(std::string& text) {
    const std::size_t at = below(text.size() + 1);
    switch (below(5)) {
      case 0:
        text.insert(at, kTokens[below(kTokens.size())]);
        break;
      case 1:
        text.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 2:
        text.erase(at, 1 + below(12));
        break;
      case 3:
        text.insert(at, text.substr(below(text.size() + 1), 1 + below(40)));
        break;
      default:
        text.insert(at, kSeeds[below(kSeeds.size())]);
    }
  }

  std::mt19937_64 random_;
};

double seconds_to_run(int argc, char** argv) {
  if (argc > 1) return std::atof(argv[1]);
  const char* value = std::getenv("FUZZ_SECONDS");
  return value != nullptr ? std::atof(value) : 20.0;
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = seconds_to_run(argc, argv);
  Mutator mutator(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0);
  std::vector<std::string> corpus = kSeeds;
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t executions = 0;
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  do {
    for (int i = 0; i < 1000; ++i, ++executions) {
      std::string text = mutator.mutate(corpus[mutator.below(corpus.size())]);
      LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
      // A random walk through a small corpus: inputs drift away from the seeds, and back.
      if (corpus.size() < 256) {
        corpus.push_back(std::move(text));
      } else if (mutator.below(8) == 0) {
        corpus[kSeeds.size() + mutator.below(corpus.size() - kSeeds.size())] = std::move(text);
      }
    }
  } while (elapsed() < seconds);
  std::printf("%s: %llu executions in %.1f s\n", argv[0],
              static_cast<unsigned long long>(executions), elapsed());
  return 0;
}
