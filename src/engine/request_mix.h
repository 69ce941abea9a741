// RequestMix: how many prompt rows the requests of late bring for each token that they stream.
//
// Of requests that ended it is known. Until some have, their prompts and the most tokens that they
// may produce stand for them. Means over the latest kRemembered; later ones count more. Plain
// arithmetic on what it is told. One owner, one thread.
#pragma once

namespace sluice::engine {

class RequestMix {
 public:
  // A request came: its prompt, and the most tokens that it may produce.
  void began(int prompt_rows, int most_tokens) { asked_.add(prompt_rows, most_tokens); }
  // One ended after `tokens` tokens; of its prompt `prompt_rows` were computed and not found in
  // the cache.
  void ended(int prompt_rows, int tokens) { answered_.add(prompt_rows, tokens); }

  // 0 while nothing is known.
  double prompt_rows_per_token() const;

 private:
  struct Mean {
    void add(int prompt_rows, int tokens);

    int seen = 0;
    double prompt_rows = 0.0;
    double tokens = 0.0;
  };

  Mean asked_;
  Mean answered_;
};

}  // namespace sluice::engine
