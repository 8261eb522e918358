"""MPT for vLLM, which has had no class of its own since 0.28: ALiBi, no biases, clipped and grouped heads.

The model is that of MosaicML's MPT (https://huggingface.co/mosaicml/mpt-7b): pre-norm blocks, one fused projection to
queries, keys and values, a GELU MLP four times as wide, the output layer tied to the embedding unless the configuration
says otherwise. Configurations beyond that are refused in `mpt_config.py`. Linear biases of attention (ALiBi): Press,
Smith and Lewis, 2022, https://arxiv.org/abs/2108.12409.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from vllm.config import VllmConfig
from vllm.distributed import get_tensor_model_parallel_rank, get_tensor_model_parallel_world_size
from vllm.model_executor.layers.attention import Attention
from vllm.model_executor.layers.linear import ColumnParallelLinear, QKVParallelLinear, RowParallelLinear
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.models.utils import AutoWeightsLoader, maybe_prefix


def alibi_slopes(heads: int, bias_max: float) -> list[float]:
    """Slope of each head's distance penalty.

    For a power of two heads, 2^(-bias_max * i / heads) for i from 1. For other numbers, every second slope of the next
    power of two, then the ones between them, as many as there are heads.
    """
    whole = 2 ** math.ceil(math.log2(heads))
    slopes = [2 ** (-bias_max * i / whole) for i in range(1, whole + 1)]
    return slopes if whole == heads else (slopes[1::2] + slopes[::2])[:heads]


class MPTAttention(nn.Module):
    """Causal attention with ALiBi over this process's share of the heads."""

    def __init__(self, config: Any, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        options = config.attn_config
        heads, key_heads = config.n_heads, getattr(config, "num_key_value_heads", None) or config.n_heads
        head_size = config.d_model // heads
        self.clip = options.clip_qkv
        self.Wqkv = QKVParallelLinear(
            config.d_model,
            head_size,
            heads,
            key_heads,
            bias=False,
            quant_config=vllm_config.quant_config,
            prefix=f"{prefix}.Wqkv",
        )
        self.out_proj = RowParallelLinear(
            config.d_model,
            config.d_model,
            bias=False,
            quant_config=vllm_config.quant_config,
            prefix=f"{prefix}.out_proj",
        )
        workers = get_tensor_model_parallel_world_size()
        mine = heads // workers
        first = get_tensor_model_parallel_rank() * mine
        self.sizes = [mine * head_size] + 2 * [max(1, key_heads // workers) * head_size]
        self.attn = Attention(
            mine,
            head_size,
            head_size**-0.5 if options.softmax_scale is None else options.softmax_scale,
            num_kv_heads=max(1, key_heads // workers),
            alibi_slopes=alibi_slopes(heads, options.alibi_bias_max)[first : first + mine],
            cache_config=vllm_config.cache_config,
            quant_config=vllm_config.quant_config,
            prefix=f"{prefix}.attn",
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`states`: tokens × width, and so is the result."""
        projected, _ = self.Wqkv(states)
        if self.clip:
            projected = projected.clamp(min=-self.clip, max=self.clip)
        queries, keys, values = projected.split(self.sizes, dim=-1)
        output, _ = self.out_proj(self.attn(queries, keys, values))
        return output  # type: ignore[no-any-return]


class MPTMLP(nn.Module):
    """Up to four times the width, GELU, down again."""

    def __init__(self, config: Any, quant_config: Any, prefix: str) -> None:
        super().__init__()
        wide = 4 * config.d_model
        self.up_proj = ColumnParallelLinear(
            config.d_model, wide, bias=False, quant_config=quant_config, prefix=f"{prefix}.up_proj"
        )
        self.act = nn.GELU(approximate="none")
        self.down_proj = RowParallelLinear(
            wide, config.d_model, bias=False, quant_config=quant_config, prefix=f"{prefix}.down_proj"
        )

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`states`: tokens × width, and so is the result."""
        wide, _ = self.up_proj(states)
        output, _ = self.down_proj(self.act(wide))
        return output  # type: ignore[no-any-return]


class MPTBlock(nn.Module):
    """Attention and MLP, each on normed states and added to them."""

    def __init__(self, config: Any, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon, bias=False)
        self.attn = MPTAttention(config, vllm_config, prefix=f"{prefix}.attn")
        self.norm_2 = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon, bias=False)
        self.ffn = MPTMLP(config, vllm_config.quant_config, prefix=f"{prefix}.ffn")

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """`states`: tokens × width, and so is the result."""
        states = states + self.attn(self.norm_1(states))
        return states + self.ffn(self.norm_2(states))  # type: ignore[no-any-return]


class MPTModel(nn.Module):
    """Embedding, blocks and the last norm."""

    def __init__(self, vllm_config: VllmConfig, prefix: str) -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.wte = VocabParallelEmbedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(
            MPTBlock(config, vllm_config, prefix=f"{prefix}.blocks.{i}") for i in range(config.n_layers)
        )
        self.norm_f = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon, bias=False)

    def forward(self, input_ids: torch.Tensor | None, embedded: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids, or their embeddings (tokens × width), to last states (tokens × width)."""
        states = self.wte(input_ids) if embedded is None else embedded
        for block in self.blocks:
            states = block(states)
        return self.norm_f(states)  # type: ignore[no-any-return]


class MPTForCausalLM(nn.Module):
    """The class that vLLM finds under the names in `mpt_config.ARCHITECTURES`."""

    def __init__(self, *, vllm_config: VllmConfig, prefix: str = "") -> None:
        super().__init__()
        config = vllm_config.model_config.hf_config
        self.config = config
        self.transformer = MPTModel(vllm_config, maybe_prefix(prefix, "transformer"))
        self.lm_head = ParallelLMHead(
            config.vocab_size,
            config.d_model,
            quant_config=vllm_config.quant_config,
            prefix=maybe_prefix(prefix, "lm_head"),
        )
        if config.tie_word_embeddings:
            self.lm_head = self.lm_head.tie_weights(self.transformer.wte)
        self.logits_processor = LogitsProcessor(config.vocab_size)

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Token ids to embeddings, tokens × width."""
        return self.transformer.wte(input_ids)  # type: ignore[no-any-return]

    def forward(
        self,
        input_ids: torch.Tensor | None,
        positions: torch.Tensor,
        intermediate_tensors: Any = None,
        inputs_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Last states, tokens × width. Positions are not used: ALiBi works on distances."""
        return self.transformer(input_ids, inputs_embeds)  # type: ignore[no-any-return]

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor | None:
        """Logits of the rows of `hidden_states`, rows × vocabulary."""
        return self.logits_processor(self.lm_head, hidden_states)  # type: ignore[no-any-return]

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> set[str]:
        """Takes tensors under the checkpoint's names, without a tied output layer. Returns the names taken."""
        if self.config.tie_word_embeddings:
            weights = ((name, tensor) for name, tensor in weights if not name.startswith("lm_head."))
        return AutoWeightsLoader(self).load_weights(weights)  # type: ignore[no-any-return]
