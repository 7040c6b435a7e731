#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/rewards/math/regions.h"
#include "csrc/rewards/math/scalars.h"

namespace r1::math {

/// Whether two answers are the same, whatever their kinds: collections, intervals, matrices,
/// relations, words; numbers and expressions it hands to Scalars. Symmetric in its arguments.
class Equality {
 public:
  Equality(Terms& terms, const MathPolicy& policy, bool decimal_logs)
      : terms_(terms),
        policy_(policy),
        scalars_(terms, policy, decimal_logs),
        regions_(terms, scalars_) {}

  Truth same(Id a, Id b);

 private:
  using Ids = std::vector<Id>;

  Truth same_kinds(Id a, Id b);
  std::optional<Truth> as_words(Id a, Id b);
  std::optional<Truth> as_residues(Id a, Id b);
  std::optional<Truth> as_regions(Id a, Id b);
  std::optional<Truth> as_memberships(Id a, Id b);
  std::optional<Truth> as_values(Id a, Id b);
  std::optional<Truth> as_collections(Id a, Id b);
  std::optional<Truth> as_equations(Id a, Id b);
  std::optional<Truth> as_sequences(Id a, Id b);
  std::optional<Truth> as_any_members(Id a, Id b);
  Truth conditions(Id a, Id b);
  Truth same_structure(Id a, Id b);
  Truth pairwise(const Ids& a, const Ids& b);
  std::optional<Ids> sequence(Id id) const;
  Truth ratios(Id a, Id b);
  Truth clocks(Id a, Id b);
  Id scaled_matrix(Id id);
  // collections.cpp: several answers in one
  bool is_collection(Id id) const;
  bool holds_a_set(Id id) const;
  bool members(Id id, Ids& out);
  std::optional<Id> with_signs(Id id, unsigned signs, unsigned& next);
  bool count_different_things(Id a, Id b) const;
  Truth matching(Ids a, Ids b, bool as_sets);
  Truth matching_of(const Ids& left, const Ids& right, const Ids& a, const Ids& b, bool as_sets);
  // relations.cpp
  bool is_equation(Id id) const;
  bool is_inequality(Id id) const;
  bool is_name(Id id) const;
  bool is_segment(Id id) const;
  Id value_of_equation(Id equation, Id other);
  Ids assignments(Id id);
  Truth equations(Id a, Id b);
  Truth inequalities(Id a, Id b);
  Truth same_up_to_factor(Id f, Id g);

  Terms& terms_;
  const MathPolicy& policy_;
  Scalars scalars_;
  Regions regions_;
  int depth_ = 0;
  int members_ = 0;  // of how many collections a member is being compared
};

}  // namespace r1::math
