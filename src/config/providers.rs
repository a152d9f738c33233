//! The providers that a deployment can name, each with its usual address and the variables that hold its key.
//!
//! Prefixes, addresses and variables are LiteLLM's. An address is the part before the provider's own paths: for the
//! OpenAI-compatible ones it includes `/v1` or its like.

use url::Url;

/// A provider as `litellm_params.model` names it: the part before the first slash.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// The prefix.
    pub name: &'static str,
    /// How its API is spoken to.
    pub kind: ProviderKind,
    /// Where it is, unless `api_base` or a variable says otherwise.
    pub(super) base: Option<&'static str>,
    /// The variables that hold the key; the first that is set counts.
    pub(super) key_variables: &'static [&'static str],
    /// The variables that hold the address.
    pub(super) base_variables: &'static [&'static str],
}

impl Provider {
    /// Its own address; `None` where everybody has another.
    #[must_use]
    pub fn usual_base(&self) -> Option<Url> {
        self.base.map(|base| Url::parse(base).expect("a literal address"))
    }
}

/// What path and which credential slot a provider's API has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKind {
    /// OpenAI itself and everything that copies its paths under a base: `Authorization: Bearer`.
    OpenAi,
    /// Azure OpenAI: `api-key`, and the deployment in the path.
    Azure,
    /// Anthropic: `x-api-key`.
    Anthropic,
    /// Google's Gemini API: `x-goog-api-key`.
    Gemini,
    /// Answers in this process, without a provider.
    Mock,
}

/// The provider of this prefix.
pub(super) fn by_name(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().copied().find(|provider| provider.name == name)
}

/// Every prefix, for messages.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    PROVIDERS.iter().map(|provider| provider.name)
}

/// Providers of LiteLLM that speak a protocol of their own.
pub(super) const UNSUPPORTED: &str = "ai21 auto_router azure_ai bedrock bedrock_converse bedrock_mantle chatgpt cloudflare \
    cohere cohere_chat databricks github_copilot huggingface nlp_cloud oci petals predibase replicate sagemaker \
    sagemaker_chat sap snowflake triton vertex_ai vertex_ai_beta voyage watsonx watsonx_text";

const OPENAI_KEY: &[&str] = &["OPENAI_API_KEY"];
const OPENAI_BASE: &[&str] = &["OPENAI_BASE_URL", "OPENAI_API_BASE"];

const fn compatible(
    name: &'static str,
    base: Option<&'static str>,
    key_variables: &'static [&'static str],
    base_variables: &'static [&'static str],
) -> Provider {
    Provider { name, kind: ProviderKind::OpenAi, base, key_variables, base_variables }
}

pub(super) static OPENAI: Provider = compatible("openai", Some("https://api.openai.com/v1"), OPENAI_KEY, OPENAI_BASE);
pub(super) static AZURE: Provider = Provider {
    name: "azure",
    kind: ProviderKind::Azure,
    base: None,
    key_variables: &["AZURE_API_KEY", "AZURE_OPENAI_API_KEY"],
    base_variables: &["AZURE_API_BASE"],
};
pub(super) static ANTHROPIC: Provider = Provider {
    name: "anthropic",
    kind: ProviderKind::Anthropic,
    base: Some("https://api.anthropic.com"),
    key_variables: &["ANTHROPIC_API_KEY"],
    base_variables: &["ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"],
};
pub(super) static GEMINI: Provider = Provider {
    name: "gemini",
    kind: ProviderKind::Gemini,
    base: Some("https://generativelanguage.googleapis.com"),
    key_variables: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
    base_variables: &["GEMINI_API_BASE"],
};
pub(super) static MOCK: Provider =
    Provider { name: "mock", kind: ProviderKind::Mock, base: None, key_variables: &[], base_variables: &[] };

static PROVIDERS: &[&Provider] = &[
    &OPENAI,
    &AZURE,
    &ANTHROPIC,
    &GEMINI,
    &MOCK,
    // Self-hosted servers: the address must be given.
    &compatible("custom_openai", None, OPENAI_KEY, &[]),
    &compatible("hosted_vllm", None, &["HOSTED_VLLM_API_KEY"], &["HOSTED_VLLM_API_BASE"]),
    &compatible("litellm_proxy", None, &["LITELLM_PROXY_API_KEY"], &["LITELLM_PROXY_API_BASE"]),
    &compatible("llamafile", Some("http://127.0.0.1:8080/v1"), &["LLAMAFILE_API_KEY"], &["LLAMAFILE_API_BASE"]),
    &compatible("lm_studio", None, &["LM_STUDIO_API_KEY"], &["LM_STUDIO_API_BASE"]),
    &compatible("ollama", Some(OLLAMA_BASE), &["OLLAMA_API_KEY"], &["OLLAMA_API_BASE"]),
    &compatible("ollama_chat", Some(OLLAMA_BASE), &["OLLAMA_API_KEY"], &["OLLAMA_API_BASE"]),
    &compatible("openai_like", None, &["OPENAI_LIKE_API_KEY"], &["OPENAI_LIKE_API_BASE"]),
    &compatible("text-completion-openai", Some("https://api.openai.com/v1"), OPENAI_KEY, OPENAI_BASE),
    &compatible("vllm", None, &["VLLM_API_KEY"], &["VLLM_API_BASE"]),
    // Services.
    &compatible("cerebras", Some("https://api.cerebras.ai/v1"), &["CEREBRAS_API_KEY"], &["CEREBRAS_API_BASE"]),
    &compatible(
        "dashscope",
        Some("https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        &["DASHSCOPE_API_KEY"],
        &["DASHSCOPE_API_BASE"],
    ),
    &compatible(
        "deepinfra",
        Some("https://api.deepinfra.com/v1/openai"),
        &["DEEPINFRA_API_KEY"],
        &["DEEPINFRA_API_BASE"],
    ),
    &compatible("deepseek", Some("https://api.deepseek.com"), &["DEEPSEEK_API_KEY"], &["DEEPSEEK_API_BASE"]),
    &compatible(
        "fireworks_ai",
        Some("https://api.fireworks.ai/inference/v1"),
        &["FIREWORKS_API_KEY", "FIREWORKS_AI_API_KEY"],
        &["FIREWORKS_API_BASE"],
    ),
    &compatible("groq", Some("https://api.groq.com/openai/v1"), &["GROQ_API_KEY"], &["GROQ_API_BASE"]),
    &compatible("mistral", Some("https://api.mistral.ai/v1"), &["MISTRAL_API_KEY"], &["MISTRAL_API_BASE"]),
    &compatible("moonshot", Some("https://api.moonshot.ai/v1"), &["MOONSHOT_API_KEY"], &["MOONSHOT_API_BASE"]),
    &compatible(
        "nvidia_nim",
        Some("https://integrate.api.nvidia.com/v1"),
        &["NVIDIA_NIM_API_KEY"],
        &["NVIDIA_NIM_API_BASE"],
    ),
    &compatible("openrouter", Some("https://openrouter.ai/api/v1"), &["OPENROUTER_API_KEY"], &["OPENROUTER_API_BASE"]),
    &compatible(
        "perplexity",
        Some("https://api.perplexity.ai"),
        &["PERPLEXITYAI_API_KEY", "PERPLEXITY_API_KEY"],
        &["PERPLEXITY_API_BASE"],
    ),
    &compatible("sambanova", Some("https://api.sambanova.ai/v1"), &["SAMBANOVA_API_KEY"], &["SAMBANOVA_API_BASE"]),
    &compatible(
        "together_ai",
        Some("https://api.together.xyz/v1"),
        &["TOGETHER_API_KEY", "TOGETHERAI_API_KEY", "TOGETHER_AI_API_KEY"],
        &["TOGETHER_AI_API_BASE"],
    ),
    &compatible("xai", Some("https://api.x.ai/v1"), &["XAI_API_KEY"], &["XAI_API_BASE"]),
];

/// Without `/v1`, as LiteLLM writes it; the OpenAI-compatible API of Ollama stands under `/v1`.
const OLLAMA_BASE: &str = "http://127.0.0.1:11434";
