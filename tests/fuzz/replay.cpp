// SPDX-License-Identifier: BSL-1.0

// Runs the programs in files, or in all files of folders, without a fuzzer: replay PATH…

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size);

namespace {

bool replay(std::filesystem::path const& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> const bytes(std::istreambuf_iterator<char>(file), {});
  if (!file) return false;
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);  // if this program ends the process, its name is the last output
  LLVMFuzzerTestOneInput(reinterpret_cast<std::uint8_t const*>(bytes.data()), bytes.size());
  return true;
}

}  // namespace

int main(int argc, char* argv[]) {
  int played = 0;
  for (int i = 1; i < argc; ++i) {
    if (!std::filesystem::is_directory(argv[i])) {
      played += replay(argv[i]) ? 1 : 0;
      continue;
    }
    for (auto const& entry : std::filesystem::directory_iterator(argv[i])) played += replay(entry.path()) ? 1 : 0;
  }
  std::printf("%d programs\n", played);
  return played > 0 ? 0 : 1;
}
