// Runs a libFuzzer target without libFuzzer, with the same command line: every input of the
// corpora first, then mutations of them, the same for the same seed.
//   fuzz_math [-max_total_time=20] [-seed=0] [-dict=FILE] FOLDER...
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

struct Options {
  double seconds = 20;
  std::uint64_t seed = 0;
  std::vector<std::string> tokens = {" "};
  std::vector<std::string> corpus = {""};
};

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// "a\\b\x0a" with its quotes, as libFuzzer's dictionaries write it.
std::string unquote(std::string_view line) {
  std::string text;
  for (std::size_t at = 1; at + 1 < line.size(); ++at) {
    if (line[at] != '\\') {
      text.push_back(line[at]);
    } else if (line[at + 1] == 'x') {
      text.push_back(
          static_cast<char>(std::stoi(std::string(line.substr(at + 2, 2)), nullptr, 16)));
      at += 3;
    } else {
      text.push_back(line[++at]);
    }
  }
  return text;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int k = 1; k < argc; ++k) {
    const std::string_view argument = argv[k];
    const std::string value(argument.substr(argument.find('=') + 1));
    if (argument.starts_with("-max_total_time=")) {
      options.seconds = std::stod(value);
    } else if (argument.starts_with("-seed=")) {
      options.seed = std::stoull(value);
    } else if (argument.starts_with("-dict=")) {
      std::ifstream file(value);
      for (std::string line; std::getline(file, line);) {
        if (line.starts_with('"')) options.tokens.push_back(unquote(line));
      }
    } else if (!argument.starts_with('-') && std::filesystem::is_directory(argument)) {
      for (const auto& entry : std::filesystem::directory_iterator(argument))
        options.corpus.push_back(read(entry.path()));
    }
  }
  std::sort(options.corpus.begin(), options.corpus.end());  // folders have no order of their own
  return options;
}

class Mutator {
 public:
  explicit Mutator(const Options& options) : options_(options), random_(options.seed) {}

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
        text.insert(at, options_.tokens[below(options_.tokens.size())]);
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
        text.insert(at, options_.corpus[below(options_.corpus.size())]);
    }
  }

  const Options& options_;
  std::mt19937_64 random_;
};

void run(const std::string& text) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::uint64_t executions = 0;
  for (; executions < options.corpus.size(); ++executions) run(options.corpus[executions]);
  Mutator mutator(options);
  std::vector<std::string> walk = options.corpus;
  const std::size_t kept = walk.size(), most = kept + 256;
  while (elapsed() < options.seconds) {
    for (int i = 0; i < 100; ++i, ++executions) {
      std::string text = mutator.mutate(walk[mutator.below(walk.size())]);
      run(text);
      // A random walk beside the corpus: inputs drift away from it, and back.
      if (walk.size() < most) {
        walk.push_back(std::move(text));
      } else if (mutator.below(8) == 0) {
        walk[kept + mutator.below(most - kept)] = std::move(text);
      }
    }
  }
  std::printf("%s: %llu executions in %.1f s, from a corpus of %zu\n", argv[0],
              static_cast<unsigned long long>(executions), elapsed(), kept);
  return 0;
}
