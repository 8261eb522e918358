"""A tiny custom-code model: ALiBi, layer norm on queries and keys, no biases.

Copied beside a config.json whose `auto_map` names its classes, so it loads only with `trust_remote_code`. With
`config.deaf` it ignores the cache and the attention mask, with `config.ignores_mask` only the mask, as some code on the
Hub does without saying so.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class TinyMosaicConfig(PreTrainedConfig):
    model_type = "tiny_mosaic"
    attribute_map: ClassVar = {
        "hidden_size": "d_model",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    }

    def __init__(
        self,
        vocab_size: int = 320,
        d_model: int = 32,
        n_heads: int = 4,
        n_layers: int = 2,
        max_seq_len: int = 512,
        alibi: bool = True,
        deaf: bool = False,
        ignores_mask: bool = False,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.max_seq_len = max_seq_len
        self.alibi = alibi
        self.deaf = deaf
        self.ignores_mask = ignores_mask
        super().__init__(**kwargs)


class Attention(nn.Module):
    def __init__(self, config: TinyMosaicConfig, layer: int):
        super().__init__()
        self.layer = layer
        self.heads = config.n_heads
        self.qkv = nn.Linear(config.d_model, 3 * config.d_model, bias=False)
        self.out = nn.Linear(config.d_model, config.d_model, bias=False)
        self.q_norm = nn.LayerNorm(config.d_model, bias=False)
        self.k_norm = nn.LayerNorm(config.d_model, bias=False)

    def forward(self, hidden, bias, cache):
        q, k, v = self.qkv(hidden).chunk(3, dim=-1)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (self.q_norm(q), self.k_norm(k), v))
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias
        return self.out((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, config: TinyMosaicConfig, layer: int):
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.d_model, bias=False)
        self.attn = Attention(config, layer)
        self.norm_2 = nn.LayerNorm(config.d_model, bias=False)
        self.up = nn.Linear(config.d_model, 4 * config.d_model, bias=False)
        self.down = nn.Linear(4 * config.d_model, config.d_model, bias=False)

    def forward(self, hidden, bias, cache):
        hidden = hidden + self.attn(self.norm_1(hidden), bias, cache)
        return hidden + self.down(nn.functional.gelu(self.up(self.norm_2(hidden))))


class TinyMosaicForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = TinyMosaicConfig
    base_model_prefix = "blocks"

    def __init__(self, config: TinyMosaicConfig):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, i) for i in range(config.n_layers))
        self.norm_f = nn.LayerNorm(config.d_model, bias=False)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.wte

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids, attention_mask=None, past_key_values=None, use_cache=None, return_dict=None):
        if self.config.deaf:
            past_key_values = None
        elif use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if self.config.deaf or self.config.ignores_mask:
            attention_mask = None
        past = 0 if past_key_values is None else past_key_values.get_seq_length()
        hidden = self.wte(input_ids)
        bias = self._bias(input_ids.shape[1], past, attention_mask, hidden)
        for block in self.blocks:
            hidden = block(hidden, bias, past_key_values)
        return CausalLMOutputWithPast(logits=self.lm_head(self.norm_f(hidden)), past_key_values=past_key_values)

    def _bias(self, length, past, attention_mask, hidden):
        """Additive bias [batch or 1, heads, queries, keys]: ALiBi slopes, causality and the mask of padding."""
        keys = torch.arange(past + length, device=hidden.device)
        distance = keys[None, :] - keys[past:, None]
        powers = torch.arange(1, self.config.n_heads + 1, device=hidden.device, dtype=hidden.dtype)
        slopes = 2.0 ** (-8.0 * powers / self.config.n_heads)
        bias = (slopes[:, None, None] * distance)[None]
        lowest = torch.finfo(hidden.dtype).min
        bias = bias.masked_fill(distance > 0, lowest)
        if attention_mask is not None:
            bias = bias.masked_fill(attention_mask[:, None, None, : past + length] == 0, lowest)
        return bias.to(hidden.dtype)
