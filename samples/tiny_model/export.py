"""Writes trained weights as a checkpoint folder in the released Kimi Linear layout.

    python3 export.py --weights run/weights.safetensors --data data --out checkpoint

With --golden it also writes heldout/golden.safetensors: what transformers' own kimi_linear computes for the checkpoint
in float32. The tensors are compared with this folder's model.py, so a wrong export does not pass unseen.
"""
import argparse
import json
import pathlib
import shutil

import torch
from safetensors.torch import load_file, save_file

import model
import tokenizer

KDA_NAMES = {"q": "q_proj.weight", "k": "k_proj.weight", "v": "v_proj.weight", "f_a": "f_a_proj.weight",
             "f_b": "f_b_proj.weight", "b": "b_proj.weight", "g_a": "g_a_proj.weight", "g_b": "g_b_proj.weight",
             "o_norm": "o_norm.weight", "o": "o_proj.weight"}
MLA_NAMES = {"q": "q_proj.weight", "kv_a": "kv_a_proj_with_mqa.weight", "kv_ln": "kv_a_layernorm.weight",
             "kv_b": "kv_b_proj.weight", "o": "o_proj.weight"}


def released(weights):
    """The weights under the released names, shapes and types."""
    c = model.C
    out = {"model.embed_tokens.weight": weights["embed"], "model.norm.weight": weights["norm"],
           "lm_head.weight": weights["head"]}
    for i in range(c["num_hidden_layers"]):
        w = {n.split(".")[1]: t for n, t in weights.items() if n.startswith(f"{i}.")}
        layer, attn = f"model.layers.{i}.", f"model.layers.{i}.self_attn."
        out[layer + "input_layernorm.weight"] = w["ln1"]
        out[layer + "post_attention_layernorm.weight"] = w["ln2"]
        out.update({attn + name: w[n] for n, name in (MLA_NAMES if model.is_mla(i) else KDA_NAMES).items()})
        if not model.is_mla(i):
            for part, conv in zip("qkv", w["conv"].chunk(3)):
                out[attn + f"{part}_conv1d.weight"] = conv[:, None]
            out[attn + "A_log"] = w["A_log"].float().view(1, 1, -1, 1)
            out[attn + "dt_bias"] = w["dt_bias"].float()
        if i == 0:
            out.update({layer + f"mlp.{n}_proj.weight": w[n] for n in ("gate", "up", "down")})
            continue
        moe = layer + "block_sparse_moe."
        out[moe + "gate.weight"] = w["router"]
        out[moe + "gate.e_score_correction_bias"] = w["bias"].to(torch.bfloat16)
        for e in range(c["experts"]):
            out.update({moe + f"experts.{e}.{n}.weight": w[n][e] for n in ("w1", "w2", "w3")})
        for n, name in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
            out[moe + f"shared_experts.{name}.weight"] = w[n][c["experts"]]
    return {n: t.contiguous().clone() for n, t in out.items()}


def weights_of(folder):
    """The inverse: a checkpoint folder's tensors as model.py wants them."""
    t = load_file(folder / "model.safetensors")
    out = {"embed": t["model.embed_tokens.weight"], "norm": t["model.norm.weight"], "head": t["lm_head.weight"]}
    for i in range(model.C["num_hidden_layers"]):
        layer, attn = f"model.layers.{i}.", f"model.layers.{i}.self_attn."
        out[f"{i}.ln1"] = t[layer + "input_layernorm.weight"]
        out[f"{i}.ln2"] = t[layer + "post_attention_layernorm.weight"]
        for n, name in (MLA_NAMES if model.is_mla(i) else KDA_NAMES).items():
            out[f"{i}.{n}"] = t[attn + name]
        if not model.is_mla(i):
            out[f"{i}.conv"] = torch.cat([t[attn + f"{p}_conv1d.weight"][:, 0] for p in "qkv"])
            out[f"{i}.A_log"], out[f"{i}.dt_bias"] = t[attn + "A_log"].flatten(), t[attn + "dt_bias"]
        if i == 0:
            out.update({f"0.{n}": t[layer + f"mlp.{n}_proj.weight"] for n in ("gate", "up", "down")})
            continue
        moe = layer + "block_sparse_moe."
        out[f"{i}.router"], out[f"{i}.bias"] = t[moe + "gate.weight"], t[moe + "gate.e_score_correction_bias"].float()
        for n, name in (("w1", "gate_proj"), ("w3", "up_proj"), ("w2", "down_proj")):
            stack = [t[moe + f"experts.{e}.{n}.weight"] for e in range(model.C["experts"])]
            out[f"{i}.{n}"] = torch.stack([*stack, t[moe + f"shared_experts.{name}.weight"]])
    return out


def config(base):
    """config.json with every field of the release."""
    c = model.C
    mla = c["full_attn_layers"]
    return {
        "architectures": ["KimiLinearForCausalLM"], "model_type": "kimi_linear", "dtype": "bfloat16",
        "vocab_size": c["vocab_size"], "hidden_size": c["hidden_size"], "num_hidden_layers": c["num_hidden_layers"],
        "num_attention_heads": c["mla_heads"], "num_key_value_heads": c["mla_heads"],
        "head_dim": c["hidden_size"] // c["mla_heads"], "intermediate_size": c["intermediate"], "hidden_act": "silu",
        "rms_norm_eps": c["eps"], "initializer_range": 0.02, "tie_word_embeddings": False, "model_max_length": 4608,
        "use_cache": True, "bos_token_id": base, "eos_token_id": base + tokenizer.IM_END, "pad_token_id": base + 255,
        "rope_theta": 10000.0, "rope_scaling": None, "mla_use_nope": True, "q_lora_rank": None,
        "kv_lora_rank": c["kv_lora"], "qk_nope_head_dim": c["nope"], "qk_rope_head_dim": c["rope"],
        "v_head_dim": c["v"],
        "linear_attn_config": {
            "full_attn_layers": mla,
            "kda_layers": [i for i in range(1, c["num_hidden_layers"] + 1) if i not in mla],
            "head_dim": c["kda_dim"], "num_heads": c["kda_heads"], "short_conv_kernel_size": 4},
        "first_k_dense_replace": 1, "moe_layer_freq": 1, "num_experts": c["experts"],
        "num_experts_per_token": c["top_k"], "num_shared_experts": 1, "moe_intermediate_size": c["expert_width"],
        "moe_router_activation_func": "sigmoid", "moe_renormalize": True,
        "routed_scaling_factor": c["routed_scaling_factor"], "use_grouped_topk": True, "num_expert_group": 1,
        "topk_group": 1, "num_nextn_predict_layers": 0,
    }


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_checkpoint(weights, vocabulary, out):
    """Everything a loader needs, in one folder."""
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(vocabulary, out / "tiktoken.model")
    base = tokenizer.Tokenizer(vocabulary).base
    save_file(released(weights), out / "model.safetensors", metadata={"format": "pt"})
    write_json(out / "config.json", config(base))
    write_json(out / "generation_config.json", {"max_length": 4608, "eos_token_id": base + tokenizer.IM_END})
    tools = range(11, 16)
    write_json(out / "tokenizer_config.json", {
        "added_tokens_decoder": {
            str(base + i): {"content": text, "lstrip": False, "normalized": False, "rstrip": False,
                            "single_word": False, "special": i not in tools}
            for i, text in tokenizer.SPECIAL.items()},
        "bos_token": "[BOS]", "eos_token": "<|im_end|>", "pad_token": "[PAD]", "unk_token": "[UNK]",
        "clean_up_tokenization_spaces": False, "model_max_length": 4608, "tokenizer_class": "TikTokenTokenizer"})


def golden(folder, heldout):
    """Logits and the greedy answer by transformers, float32, of 256 tokens of a held-out conversation."""
    from transformers import KimiLinearForCausalLM
    tok = tokenizer.Tokenizer(folder / "tiktoken.model")
    chats = [json.loads(line)["messages"] for line in open(heldout / "chat.jsonl")]
    question = tok.encode_chat([{"role": "user", "content": "What is a brook?"}])
    told = tok.encode_chat([{"role": "user", "content": "My boat is called Petrel."},
                            {"role": "assistant", "content": "Okay, I will remember that."}], answer=False)
    filler = [i for chat in chats for i in tok.encode_chat(chat, answer=False)]
    ids = told + filler[:256 - len(told) - len(question)] + question
    net = KimiLinearForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        scores = net(torch.tensor([ids])).logits[0]
        text, answer = list(ids), []
        while not answer or answer[-1] != tok.im_end and len(answer) < 48:
            answer.append(int(net(torch.tensor([text]), use_cache=False).logits[0, -1].argmax()))
            text.append(answer[-1])
    reader = model.Reader({n: t.float() for n, t in weights_of(folder).items()})
    difference = (reader.feed(ids, last_only=False) - scores).abs().max().item()
    print(f"largest logit difference to transformers in float32: {difference:.2e}")
    print("greedy:", tok.decode(answer))
    save_file({"input_ids": torch.tensor(ids, dtype=torch.int32), "logits": scores[-64:].float().contiguous(),
               "greedy_ids": torch.tensor(answer, dtype=torch.int32)}, heldout / "golden.safetensors")
    if difference > 1e-3:
        raise SystemExit("the export does not match transformers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=pathlib.Path, default=pathlib.Path("run/weights.safetensors"))
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("data"))
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("checkpoint"))
    parser.add_argument("--heldout", type=pathlib.Path, default=pathlib.Path("heldout"))
    parser.add_argument("--golden", action="store_true")
    args = parser.parse_args()
    write_checkpoint(load_file(args.weights), args.data / "tiktoken.model", args.out)
    if args.golden:
        golden(args.out, args.heldout)


if __name__ == "__main__":
    main()
