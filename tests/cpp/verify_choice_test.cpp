#include "csrc/rewards/verify_choice.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

using Text = std::string_view;

struct Reply {
  const char* text;
  const char* choice;  // the letter it chooses, several together; "" for none
};

/// What a reply chooses, found by trying every letter as the gold.
std::string choice_of(Text completion, std::vector<Text> options = {}) {
  std::string found;
  for (char letter = 'A'; letter <= 'J'; ++letter) {
    const std::string gold(1, letter);
    if (r1::verify_choice(completion, gold, options).status == r1::VerdictStatus::correct)
      found += letter;
  }
  return found;
}

class Chooses : public testing::TestWithParam<Reply> {};

TEST_P(Chooses, TheLetterItStates) {
  EXPECT_EQ(choice_of(GetParam().text), GetParam().choice) << GetParam().text;
}
INSTANTIATE_TEST_SUITE_P(
    English, Chooses,
    testing::Values(
        Reply{"B", "B"}, Reply{"(B)", "B"}, Reply{"B.", "B"}, Reply{"b", "B"}, Reply{"**B**", "B"},
        Reply{"\\boxed{B}", "B"}, Reply{"\\boxed{\\text{B}}", "B"},
        Reply{"\\boxed{\\text{(B)}}", "B"}, Reply{"\\boxed{(B)}", "B"},
        Reply{"\\boxed{\\textbf{(B)}\\ 12}", "B"}, Reply{"\\boxed{B. 12 \\text{ cm}}", "B"},
        Reply{"$\\boxed{\\mathrm{B}}$", "B"}, Reply{"\\boxed{b}", "B"}, Reply{"\\fbox{C}", "C"},
        Reply{"<think>A? no</think><answer>B</answer>", "B"}, Reply{"<answer>(B)</answer>", "B"},
        Reply{"<answer>B) Paris</answer>", "B"}, Reply{"<answer>The answer is B.</answer>", "B"},
        Reply{"<answer>b</answer>", "B"}, Reply{"<answer>Option B</answer>", "B"},
        Reply{"The answer is B.", "B"}, Reply{"The answer is (B).", "B"},
        Reply{"The correct answer is B", "B"}, Reply{"the answer is: B", "B"},
        Reply{"The correct answer is: **B**", "B"}, Reply{"The correct answer is option B.", "B"},
        Reply{"The correct answer is **(B) Paris**.", "B"}, Reply{"Answer: B", "B"},
        Reply{"answer: b", "B"}, Reply{"**Answer: B**", "B"}, Reply{"**Answer:** B", "B"},
        Reply{"Answer: (B) Paris", "B"}, Reply{"**Final Answer**: B", "B"},
        Reply{"### Answer\nB", "B"}, Reply{"Final Answer: \\boxed{B}", "B"},
        Reply{"Answer:\nB", "B"}, Reply{"So the answer should be C.", "C"},
        Reply{"Therefore, the best answer is D.", "D"},
        Reply{"Thus, the correct option is B.", "B"}, Reply{"The correct choice is (C).", "C"},
        Reply{"The right option is therefore A.", "A"}, Reply{"Option B is correct.", "B"},
        Reply{"Choice (C) is correct.", "C"}, Reply{"B is correct.", "B"},
        Reply{"(C) is the correct answer.", "C"}, Reply{"I choose B.", "B"},
        Reply{"I'd go with C.", "C"}, Reply{"I would select option D.", "D"},
        Reply{"My pick: the answer is A", "A"},
        Reply{"A: wrong. B: right. So the answer is B.", "B"},
        Reply{"The options are A, B, C. After thought, the answer is C.", "C"},
        Reply{"Some reasoning.\n\nB", "B"}, Reply{"Some reasoning.\n(D)", "D"},
        Reply{"Some reasoning.\n\nB) Paris", "B"}, Reply{"Some reasoning.\nC. Rome", "C"},
        Reply{"Reasoning\n**D**", "D"}, Reply{"Between A and B, the answer is B.", "B"},
        Reply{"The answer is not A but C.", "C"},
        Reply{"First I thought the answer is A. But the answer is D.", "D"},
        Reply{"A is wrong. C is correct.", "C"},
        Reply{"The answer is A. Paris is the capital.", "A"},
        Reply{"The answer is A because it is the capital.", "A"}, Reply{"the answer is A", "A"},
        Reply{"<think>the answer is A</think>The answer is B", "B"}, Reply{"#### B", "B"},
        Reply{"The answer is $\\textbf{(E)}$.", "E"}, Reply{"$\\textbf{(C)}\\ 45$", "C"},
        Reply{"Answer is D", "D"}, Reply{"ANSWER: A", "A"},
        Reply{"The answer to the question is C.", "C"},
        Reply{"So, the final answer is \\(\\boxed{D}\\).", "D"},
        Reply{"Hence (A) is the right answer.", "A"}, Reply{"The most likely answer is B.", "B"},
        Reply{"Correct answer: C", "C"}, Reply{"Answer - nothing. Answer: D", "D"},
        Reply{"Answer: [B]", "B"}, Reply{"Answer: \"B\"", "B"}, Reply{"The answer is `B`.", "B"},
        Reply{"Answer: $B$", "B"}));
INSTANTIATE_TEST_SUITE_P(
    Languages, Chooses,
    testing::Values(
        Reply{"答案：B", "B"}, Reply{"答案是 B。", "B"}, Reply{"答案为B", "B"},
        Reply{"所以答案选B。", "B"}, Reply{"故选：B", "B"}, Reply{"故选 C。", "C"},
        Reply{"因此选择B。", "B"}, Reply{"正确答案是B选项", "B"}, Reply{"答案：（B）", "B"},
        Reply{"答案：Ｂ", "B"}, Reply{"选项A错误，选项C错误，故选D。", "D"},
        Reply{"正确选项是C。", "C"}, Reply{"B选项正确。", "B"}, Reply{"综上，答案是：**C**", "C"},
        Reply{"因此，正确答案是 (D)。", "D"}, Reply{"【答案】B", "B"},
        Reply{"La réponse est B.", "B"}, Reply{"Réponse : B", "B"},
        Reply{"La bonne réponse est (C).", "C"}, Reply{"La réponse correcte est D", "D"},
        Reply{"La réponse est la B.", "B"}, Reply{"Die Antwort ist B.", "B"},
        Reply{"Antwort: B", "B"}, Reply{"Die richtige Antwort ist C.", "C"},
        Reply{"Die richtige Antwort lautet: D", "D"}, Reply{"Antwort B ist richtig.", "B"},
        Reply{"La respuesta es B.", "B"}, Reply{"La respuesta correcta es B", "B"},
        Reply{"Respuesta: C", "C"}, Reply{"La opción correcta es D.", "D"}));
INSTANTIATE_TEST_SUITE_P(
    Traps, Chooses,
    testing::Values(Reply{"The answer is a mess.", ""}, Reply{"A common mistake is to add.", ""},
                    Reply{"I think it is hard.", ""},
                    Reply{"Answer: A triangle has three sides", ""}, Reply{"", ""},
                    Reply{"I do not know.", ""}, Reply{"The answer is A and C.", ""},
                    Reply{"The answer is A or B.", ""}, Reply{"Answer: B/C", ""},
                    Reply{"\\boxed{A, B}", ""}, Reply{"<answer>A, C</answer>", ""},
                    Reply{"A is wrong.", ""}, Reply{"B is incorrect.", ""},
                    Reply{"The answer is not B.", ""}, Reply{"We can rule out C.", ""},
                    Reply{"<think>The answer is B", ""}, Reply{"<think>B</think>", ""},
                    Reply{"The answer is Because.", ""}, Reply{"The answer is Berlin.", ""},
                    Reply{"Answer: 5", ""}, Reply{"A. Rome\nB. Paris\nC. Berlin\nD. Madrid", ""},
                    Reply{"Option A is wrong and option B is not correct.", ""},
                    Reply{"\\boxed{}", ""}, Reply{"\\boxed{5}", ""}));

TEST(VerifyChoice, TakesAnOptionsTextForItsLetter) {
  const std::vector<Text> options = {"Rome", "Paris", "12 cm", "A cat"};
  EXPECT_EQ(choice_of("The answer is Paris.", options), "B");
  EXPECT_EQ(choice_of("\\boxed{12\\text{ cm}}", options), "C");
  EXPECT_EQ(choice_of("<answer>a cat</answer>", options), "D");
  EXPECT_EQ(choice_of("The answer is A. Rome", options), "A");
  EXPECT_EQ(choice_of("Reasons.\nParis", options), "B");
  EXPECT_EQ(choice_of("The answer is E.", options), "");  // there are four
  EXPECT_EQ(r1::verify_choice("The answer is B", "Paris", options).status,
            r1::VerdictStatus::correct);
}

TEST(VerifyChoice, ReadsGoldsOfManyShapes) {
  for (const Text gold :
       {"B", "(B)", "B.", " b ", "\\boxed{B}", "\\text{B}", "**B**", "#### B", "B) Paris"}) {
    EXPECT_EQ(r1::verify_choice("Answer: B", gold, {}).status, r1::VerdictStatus::correct) << gold;
    EXPECT_EQ(r1::verify_choice("Answer: C", gold, {}).status, r1::VerdictStatus::wrong) << gold;
  }
  for (const Text gold : {"", "?", "Paris", "42"}) {
    EXPECT_EQ(r1::verify_choice("Answer: B", gold, {}).status, r1::VerdictStatus::unparsed_gold)
        << gold;
  }
}

TEST(VerifyChoice, ComparesSeveralLettersAsASet) {
  for (const Text gold : {"A, C", "AC", "A and C", "C, A"}) {
    EXPECT_EQ(r1::verify_choice("The answer is A and C.", gold, {}).status,
              r1::VerdictStatus::correct)
        << gold;
    EXPECT_EQ(r1::verify_choice("答案：AC", gold, {}).status, r1::VerdictStatus::correct) << gold;
    EXPECT_EQ(r1::verify_choice("The answer is A.", gold, {}).status, r1::VerdictStatus::wrong)
        << gold;
  }
}

TEST(VerifyChoice, AnswersHostileTextsSoon) {
  for (const Text part : {"A ", "(((((", "answer is ", "**A", "\\boxed{", "<answer>", "option ",
                          "\xff\x00", "选", "A. x\n"}) {
    std::string text;
    for (int k = 0; k < 200'000; ++k) text += part;
    r1::verify_choice(text, "B", {});
  }
}

}  // namespace
