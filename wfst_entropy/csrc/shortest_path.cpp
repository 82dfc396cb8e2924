// The best path of each FSA.
#include "best_search.h"
#include "surgery.h"

namespace wfst_entropy {
namespace {

void add_best_path(const TrimmedFsa& fsa, FsaVecBuilder& builder, Progress& progress) {
  if (fsa.empty()) return builder.end_empty_fsa();
  const Links links = make_links(fsa, Direction::kForward, [](const TrimmedArc&) { return true; });
  BestSearch search(fsa, links, progress);
  search.run(0);
  for (int64_t a : search.path(fsa.final_state())) {
    const int32_t state = builder.begin_state();
    builder.add_arc(state + 1, fsa.arcs[a].label, fsa.arcs[a].number);
  }
  builder.end_fsa();
}

nb::tuple shortest_path(const FsaVecView& fsas, Progress& progress) {
  FsaVecBuilder builder(progress, /*num_maps=*/1);
  {
    nb::gil_scoped_release released;
    for (int64_t i = 0; i < fsas.num_fsas; ++i) add_best_path(trim(fsas, i, progress), builder, progress);
  }
  return result(std::move(builder));
}

}  // namespace

void bind_shortest_path(nb::module_& m) { m.def("shortest_path", &shortest_path); }

}  // namespace wfst_entropy
