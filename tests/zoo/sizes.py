"""How small each size of a configuration is made, and what a family needs beside that.

Names are those of transformers' configurations. A family that is new needs an entry in `EXTRAS` only where the
general sizes do not fit it.
"""

from __future__ import annotations

from typing import Any

VOCABULARY = 320
POSITIONS = 512
WINDOW = 32
LAYERS = 4
PAD, BOS, EOS = 0, 1, 2
HOLE = 310
"""The first of ten token ids that no text has: pictures, sounds and the like get them."""

_NAMES: tuple[tuple[int, str], ...] = (
    (
        VOCABULARY,
        "vocab_size src_vocab_size tgt_vocab_size decoder_vocab_size vocab_size_per_layer_input t2u_vocab_size "
        "char_vocab_size unpadded_vocab_size",
    ),
    (
        POSITIONS,
        "max_position_embeddings n_positions n_ctx max_seq_len context_length max_source_positions "
        "max_target_positions max_encoder_position_embeddings max_decoder_position_embeddings seq_length "
        "original_max_position_embeddings t2u_max_position_embeddings",
    ),
    (
        WINDOW,
        "sliding_window window_size local_attention attention_window_size attention_window sliding_window_size "
        "attention_chunk_size attn_window_size",
    ),
    (
        LAYERS,
        "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers "
        "num_decoder_layers num_layers_per_stack num_blocks t2u_encoder_layers t2u_decoder_layers depth "
        "speech_encoder_layers",
    ),
    (
        64,
        "hidden_size n_embd d_model dim_model emb_dim attention_hidden_size embedding_size input_embedding_size "
        "output_embedding_size word_embed_proj_dim embedding_dim mamba_d_ssm lru_width pronunciation_embed_dim "
        "shape_embed_dim embed_dim out_hidden_size backbone_hidden_size hidden_dim hidden_size_global "
        "vision_output_dim projector_input_dim projector_output_dim projection_dim output_dim",
    ),
    (
        96,
        "intermediate_size d_ff ffn_dim dim_ff dff encoder_ffn_dim decoder_ffn_dim ffn_hidden_size d_inner "
        "feed_forward_size intermediate_size_mlp dense_intermediate_size t2u_encoder_ffn_dim t2u_decoder_ffn_dim "
        "speech_encoder_intermediate_size shared_intermediate_size mlp_dim",
    ),
    (
        48,
        "moe_intermediate_size shared_expert_intermediate_size shared_experts_intermediate_size "
        "expert_ffn_hidden_size moe_shared_expert_intermediate_size",
    ),
    (
        4,
        "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads attention_heads "
        "num_encoder_attention_heads num_decoder_attention_heads t2u_encoder_attention_heads mamba_d_conv "
        "t2u_decoder_attention_heads speech_encoder_attention_heads num_experts num_local_experts n_routed_experts "
        "moe_num_experts linear_num_heads num_query_heads linear_num_value_heads index_n_heads "
        "swa_num_attention_heads zero_expert_num",
    ),
    (
        2,
        "num_key_value_heads num_kv_heads num_experts_per_tok moe_topk moe_k linear_num_key_heads "
        "swa_num_key_value_heads mamba_n_groups n_groups num_experts_per_token",
    ),
    (
        1,
        "n_group topk_group n_shared_experts num_shared_experts moe_num_shared_experts first_k_dense_replace "
        "num_dense_layers pretraining_tp num_nextn_predict_layers",
    ),
    (
        16,
        "head_dim v_head_dim kv_lora_rank q_lora_rank qk_nope_head_dim index_head_dim index_topk d_kv d_head dim_head "
        "kv_channels attention_head_size attention_head_dim linear_key_head_dim linear_value_head_dim linear_head_dim "
        "global_head_dim swa_head_dim query_pre_attn_scalar hidden_size_per_layer_input laurel_rank o_lora_rank "
        "mamba_d_head mamba_head_dim adapter_rank gated_norm_rank router_hidden_size head_size hc_lowrank",
    ),
    (
        8,
        "qk_rope_head_dim rotary_dim mamba_n_heads mamba_num_heads mamba_d_state ssm_state_size state_size "
        "time_step_rank mamba_dt_rank mamba_chunk_size chunk_size",
    ),
    (28, "image_size"),
    (14, "patch_size"),
)
SIZES: dict[str, int] = {name: size for size, names in _NAMES for name in names.split()}
EXACT = frozenset(["vocab_size", "max_position_embeddings", "n_positions", "max_target_positions"])
"""Sizes that are also raised to what stands here; others are only made smaller."""
TOKENS: dict[str, int] = {
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "decoder_start_token_id": EOS,
    "sep_token_id": EOS,
    "cls_token_id": BOS,
    "eod_token_id": EOS,
}
DROPPED = frozenset(["forced_eos_token_id", "forced_bos_token_id", "begin_suppress_tokens", "suppress_tokens"])
"""Rules of generation of one checkpoint, not of a family."""

_HYBRID = ["mamba", "attention", "mamba", "attention"]
_SHARED_ENDS = {
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    "num_kv_shared_layers": 2,
    "intermediate_size": 96,
    "activation_sparsity_pattern": [0.5, 0.5, 0.0, 0.0],
}
_BERT = {
    "model_type": "bert",
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 96,
}
_NARROW_WINDOWS = {
    "layer_types": ["indexed_attention", "sliding_attention", "indexed_attention", "sliding_attention"],
    **{f"swa_{name}": 4 for name in ("num_attention_heads", "num_key_value_heads")},
    **{f"swa_{name}": 16 for name in ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "v_head_dim")},
    "swa_head_dim": 24,
}
_SPARSE = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 16,
    "indexer_budget": 16,
    "indexer_compress_ratio": 4,
}
EXTRAS: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "blt": {
        "encoder_hash_byte_group_vocab": 64,
        **{f"{part}_config.num_hidden_layers": 1 for part in ("patcher", "encoder", "decoder", "global")},
    },
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "dbrx": {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2},
    "dots3_note": {
        **{f"text_config.{name}": value for name, value in _NARROW_WINDOWS.items()},
        "vision_config.adapter_in_dim": 64,
        "vision_config.adapter_out_dim": 64,
        "audio_config.adapter_input_size": 64,
        "audio_config.adapter_out_dim": 64,
        "audio_config.downsample_hidden_size": 16,
    },
    "dots3_note_text": _NARROW_WINDOWS,
    "emu3": {
        "vq_config.base_channels": 32,
        "vq_config.channel_multiplier": [1, 1],
        "vocabulary_map": {"<image>": 310, "<|extra_200|>": 311, "<|visual token 000000|>": 312},
    },
    "encoder-decoder": {"encoder": _BERT, "decoder": {**_BERT, "is_decoder": True, "add_cross_attention": True}},
    "falcon_mamba": {"num_hidden_layers": 2},
    "gemma3n_text": _SHARED_ENDS,
    "gemma3n": {f"text_config.{name}": value for name, value in _SHARED_ENDS.items()},
    "gemma4_unified_assistant": {f"text_config.{name}": value for name, value in _SHARED_ENDS.items()},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "granite_speech": {"encoder_config.hidden_dim": 64, "encoder_config.num_layers": 2},
    "granite_speech_plus": {"encoder_config.hidden_dim": 64, "encoder_config.num_layers": 2},
    "bamba": {"attn_layer_indices": [1, 3]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "granitemoehybrid": {"layer_types": _HYBRID},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "hrm_text": {"H_cycles": 1, "L_cycles": 2, "L_bp_cycles": [1]},
    "laguna": {"num_attention_heads_per_layer": [4, 8, 4, 8]},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "longcat_flash": {"head_dim": 8, "qk_head_dim": 24},
    "mamba": {"num_hidden_layers": 2},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "ministral": {"head_dim": 16},
    "nemo_speechlm": {"audio_config.diarization_config.head_config.audio_hidden_size": 64},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp_text": _SPARSE,
    "qwen4_exp": {f"text_config.{name}": value for name, value in _SPARSE.items()},
    "reformer": {
        "is_decoder": True,
        "hash_seed": 0,
        "axial_pos_shape": [16, 32],
        "axial_pos_embds_dim": [16, 48],
        "num_buckets": 4,
    },
    "rwkv": {"num_hidden_layers": 2},
    "vibevoice_asr": {
        f"{part}_tokenizer_encoder_config.{name}": value
        for part in ("acoustic", "semantic")
        for name, value in {"num_filters": 2, "downsampling_ratios": [2, 2], "depths": [1, 1, 1]}.items()
    },
    "xlstm": {"qk_dim_factor": 1.0},
    "zamba": {
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
    },
}
"""Family → values of its configuration, by their path: `text_config.head_dim`."""

_FACTORS = {"short_factor": [1.0] * 8, "long_factor": [1.0 + 0.5 * i for i in range(8)]}
_LONG_ROPE = {
    "original_max_position_embeddings": 128,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "original_max_position_embeddings": 128,
        **_FACTORS,
    },
}


def _rope(kind: str, **more: float) -> dict[str, Any]:
    """Rotary positions of another kind, made longer than the 128 tokens they were trained on."""
    own = {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0, **more}
    return {
        "rope_parameters": own if kind in ("linear", "dynamic") else own | {"original_max_position_embeddings": 128}
    }


VARIANTS: dict[str, dict[str, Any]] = {
    "bert:decoder": {"is_decoder": True},
    "big_bird:decoder": {"is_decoder": True, "attention_type": "original_full"},
    "bigbird_pegasus:sparse": {"attention_type": "block_sparse", "block_size": 16, "num_random_blocks": 1},
    "electra:decoder": {"is_decoder": True},
    "ernie:decoder": {"is_decoder": True},
    "roberta:decoder": {"is_decoder": True},
    "camembert:decoder": {"is_decoder": True},
    "xlm:causal": {"causal": True},
    "falcon:alibi": {"alibi": True},
    "falcon:new": {"new_decoder_architecture": True, "num_kv_heads": 2},
    "falcon:rw": {"alibi": True, "num_kv_heads": 4, "multi_query": False, "parallel_attn": False, "bias": True},
    "gpt_bigcode:many-heads": {"multi_query": False},
    "gpt_neo:local": {"attention_types": [[["local"], 4]]},
    "bamba:states-only": {"attn_layer_indices": []},
    "granitemoehybrid:states-only": {"layer_types": ["mamba"] * 4},
    "granitemoehybrid:attention-only": {"layer_types": ["attention"] * 4},
    "lfm2:convolutions-only": {"layer_types": ["conv"] * 4},
    "lfm2:attention-first": {"layer_types": ["full_attention", "conv", "conv", "full_attention"]},
    "minimax:linear-first": {"layer_types": ["linear_attention", "full_attention"] * 2},
    "minimax:linear-only": {"layer_types": ["linear_attention"] * 4},
    "qwen3_next:linear-only": {"layer_types": ["linear_attention"] * 4},
    "qwen3_5_text:linear-only": {"layer_types": ["linear_attention"] * 4},
    "llama:dynamic": _rope("dynamic", original_max_position_embeddings=128),
    "llama:linear": _rope("linear"),
    "llama:llama3": _rope("llama3", low_freq_factor=1.0, high_freq_factor=4.0),
    "llama:yarn": _rope("yarn"),
    "longt5:global": {"encoder_attention_type": "transient-global"},
    "mixtral:window": {"sliding_window": WINDOW},
    "opt:projected": {"word_embed_proj_dim": 32, "do_layer_norm_before": False},
    "phi3:longrope": _LONG_ROPE,
    "phi3:window": {"sliding_window": WINDOW},
    "phimoe:longrope": {
        "original_max_position_embeddings": 128,
        "rope_parameters": {**_LONG_ROPE["rope_parameters"], "short_mscale": 1.0, "long_mscale": 1.2},
    },
    "qwen2:window": {
        "use_sliding_window": True,
        "sliding_window": WINDOW,
        "layer_types": ["full_attention", "full_attention", "sliding_attention", "sliding_attention"],
    },
    "starcoder2:window": {"sliding_window": WINDOW},
    "t5:gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
}
"""`family:variant` → values of its configuration beside the family's own: what checkpoints of one family differ in."""

UNBUILDABLE: dict[str, str] = {
    "gemma3n": "its tower for pictures needs timm and pillow; gemma3n_text is the model of text in it",
    "gemma4_assistant": "it drafts for another model, whose states it reads",
    "musicgen": "it writes music; transformers has no class that makes it from its configuration",
    "musicgen_melody": "it writes music; transformers has no class that makes it from its configuration",
}
"""Families that cannot be made here, and why."""
