"""The tasks of lm-eval's that are compared, and what is known of those that are not equal."""

from __future__ import annotations

MMLU = ("anatomy", "professional_law")
PROX = ("mmlu_prox_cs_law", "mmlu_prox_cs_computer_science", "mmlu_prox_en_computer_science")
FRENCH = (
    "arc_challenge", "boolqa", "fquadv2", "fquadv2_bool", "fquadv2_genq", "fquadv2_hasAns", "grammar", "hellaswag",
    "multifquad", "opus_perplexity", "reading_comp", "topic_based_nli", "trivia", "vocab", "wikitext_fr", "xnli",
)  # fmt: skip
UPSTREAM: tuple[str, ...] = (
    *(f"mmlu_{subject}{kind}" for subject in MMLU for kind in ("", "_generative", "_continuation")),
    *(f"mmlu_flan_{kind}_{subject}" for subject in MMLU for kind in ("cot_fewshot", "cot_zeroshot",
      "n_shot_generative", "n_shot_loglikelihood")),
    "arc_easy", "arc_challenge", "arc_challenge_chat", "gsm8k", "gsm8k_cot", "gsm8k_cot_zeroshot", "gsm8k_cot_llama",
    "truthfulqa_mc1", "truthfulqa_mc2", "truthfulqa_gen",
    *(f"mgsm_{kind}_{code}" for kind in ("direct", "native_cot") for code in ("en", "fr")), "mgsm_en_cot_en",
    "lambada_openai", "lambada_openai_mt_en", "lambada_openai_cloze_yaml", *PROX, "mmlu_prox_lite_cs_law",
    "global_mmlu_full_cs_anatomy", "global_mmlu_full_fr_high_school_us_history", "multiblimp_ces", "multiblimp_fra",
    *(f"french_bench_{name}" for name in FRENCH), "blimp_wh_island", "blimp_principle_A_case_1",
    "belebele_ces_Latn", "belebele_eng_Latn", "xnli_en", "xnli_fr",
    "hellaswag", "openbookqa", "sciq", "winogrande", "wikitext", "piqa", "nq_open", "triviaqa", "wmt14-en-fr",
    "wmt14-fr-en", "webqs", "mc_taco", "drop", "squad_completion", "anagrams1", "mrpc", "cola", "cb", "haerae",
    "sst2", "qnli", "qqp", "rte", "wnli", "copa", "wic", "wsc", "boolq", "multirc",
    "leaderboard_gpqa_main", "gpqa_main_zeroshot", "gpqa_main_n_shot", "gpqa_diamond_n_shot", "gpqa_main_cot_zeroshot",
    "gpqa_main_cot_n_shot", "gpqa_main_generative_n_shot", "discrim_eval_explicit", "swag", "logiqa", "race",
    "headqa_en", "asdiv", "ethics_cm", "ethics_justice", "ethics_deontology", "ethics_virtue", "babi", "bbq",
    "bbq_generate", "toxigen", "commonsense_qa", "medmcqa", "pubmedqa", "storycloze_2018", "qa4mre_2011", "anli_r1",
    "swde", "fda", "arithmetic_2da", "prost", "global_piqa_parallel_cloze_ces_latn", "squadv2", "lingoly",
    "humaneval", "mbpp", "coqa", "ifeval",
)  # fmt: skip

DRAWS = (
    "its generator goes on at every call of `process_docs`: lm-eval asks the choices in one order and looks for the "
    "right letter in another. benchbench draws one order, asks in it and scores in it, so its requests are others too."
)
ROUGE = (
    "lm-eval's aggregation fetches code from the Hub and ends the run; here it costs its own row. Requests are equal."
)
KNOWN: dict[str, str] = dict.fromkeys(
    [
        *(f"french_bench_{name}" for name in ("fquadv2_genq", "fquadv2_hasAns", "multifquad", "trivia")),
        "squadv2",
    ],
    ROUGE,
) | dict.fromkeys(("gpqa_main_n_shot", "gpqa_diamond_n_shot"), DRAWS)
KNOWN["own_likelihood"] = (
    "of choices lm-eval's `likelihood` is a pair, which its mean cannot add: it ends the run; here it costs its row. "
    "Requests are equal."
)
KNOWN["own_words_list"] = (
    "the made-up model of lm-eval's side looks at no text; its own engines end with a TypeError. benchbench refuses it."
)
"""Task → why the two are not equal, and who is right."""
SAMPLE = ("swde", "lambada_openai", "bbq")
"""Those of the default tests: of each kind one that no other test has."""
