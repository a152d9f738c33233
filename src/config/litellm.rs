//! What LiteLLM's configuration may hold beside the keys that are honoured, section by section.
//!
//! The one table that tells the classes apart (`known.rs` applies it). The names are those that LiteLLM 1.109 and its
//! documentation know. When a setting becomes honoured its line disappears here: `Section::field` asks for it instead.

mod jwt;

pub(super) use self::jwt::{JWT, JWT_ISSUER};

use super::known::Known;

const LATER: &str = "restricts access and is not honoured by this version: remove it to start without the restriction";
const LIMIT: &str = "limits are not enforced by this version: remove it to start without the limit";
const IDENTITY: &str = "decides who is let in and is not honoured by this version: remove it to start without it";
const CONTENT: &str = "content checks are not part of this product: put them behind it, and remove the key";
const CREDENTIAL: &str = "this way of giving a credential is not supported: use api_key of each deployment";
const SECRET_STORE: &str = "secret stores are not read: give values as os.environ/NAME or file:/path";

/// The top level.
pub(super) const ROOT: Known = Known {
    ignored: "agent_list agents assistant_settings cache_settings callback_settings credential_list \
              environment_variable_prefix files_settings finetune_settings mcp_aliases mcp_servers mcp_settings mcp_tools \
              model_cost_map plugins prompts prompt_settings search_tools vector_store_registry worker_registry",
    unserved: &[],
    refused: &[("guardrails", CONTENT), ("policies", CONTENT), ("policy_attachments", CONTENT)],
    open: false,
};

/// `general_settings`.
pub(super) const GENERAL: Known = Known {
    ignored: "alert_to_webhook_url alert_types alerting alerting_args alerting_threshold \
              allow_cli_sso_verification_uri_complete allow_user_auth always_include_stream_usage \
              apply_user_budget_to_team_keys background_health_check_model_groups background_health_checks \
              block_robots cancel_on_disconnect completion_model control_plane_url coordination_redis \
              custom_ui_sso_sign_in_handler database_args database_connection_string database_disable_prepared_statements \
              database_type disable_adding_master_key_hash_to_db disable_auto_add_proxy_admin_to_teams \
              disable_budget_reservation disable_error_logs disable_hf_tokenizer_download disable_master_key_return \
              disable_model_config_cost_tracking disable_prisma_schema_update disable_reset_budget \
              disable_responses_id_security disable_retry_on_max_parallel_request_limit_error disable_spend_logs \
              disable_spend_updates disable_telemetry embedding_model enable_health_check_routing enable_public_model_hub \
              external_spend_logs health_check_concurrency health_check_details health_check_interval \
              health_check_skip_disabled_background_models health_check_staleness_threshold image_generation_model \
              infer_model_from_keys litellm_license max_batch_file_size_mb maximum_autorouter_session_retention_period \
              maximum_health_check_retention_period maximum_spend_logs_cleanup_batch_size \
              maximum_spend_logs_cleanup_batch_timeout maximum_spend_logs_cleanup_max_batches \
              maximum_spend_logs_cleanup_run_budget maximum_spend_logs_retention_interval \
              maximum_spend_logs_retention_period mcp_internal_ip_ranges mcp_required_fields mcp_trusted_proxy_ranges \
              mcp_xff_num_trusted_hops model_list_healthy_only moderation_model otel pass_through_request_timeout plugins \
              proxy_batch_polling_interval proxy_batch_write_at proxy_budget_rescheduler_max_time \
              proxy_budget_rescheduler_min_time proxy_config_reload_interval_seconds scheduled_job_stagger \
              spend_report_frequency store_prompts_in_spend_logs supported_db_objects telemetry ui_access_mode \
              ui_logo_path use_redis_transaction_buffer use_shared_health_check use_spend_logs_partitioning \
              user_header_mappings user_header_name user_mcp_management_mode user_url_allowed_hosts \
              provider_url_destination_allowed_hosts user_url_validation",
    unserved: &[
        (
            "allow_requests_on_db_unavailable",
            "unknown keys are never let in; known ones go on working for portcullis.cache.max_stale",
        ),
        ("custom_sso", "sign-in is not part of this version; the handler is not called"),
        (
            "dangerously_permit_weak_or_unset_master_key",
            "not needed: a weak master key starts with a warning, and there is no open mode",
        ),
        (
            "database_connection_timeout",
            "a look-up waits for portcullis.store.lookup_timeout, for a free connection included",
        ),
        ("forward_openai_org_id", "every header but credentials is forwarded anyway"),
        ("pass_through_endpoints", "own pass-through routes are not served; they answer 404"),
        ("public_routes", "no further route is opened without a key"),
        ("store_model_in_db", "models are read from this file only"),
        ("use_client_credentials_pass_through_routes", "pass-through routes ask for a key like every other"),
        ("use_x_forwarded_for", "the client's address is read from X-Forwarded-For only behind trusted_proxy_ranges"),
    ],
    refused: &[
        ("admin_only_routes", LATER),
        ("custom_key_generate", LATER),
        ("custom_key_policy", LATER),
        ("custom_key_update", LATER),
        ("database_extra_connection_params", "write connection parameters such as sslmode into database_url"),
        ("default_team_disabled", LATER),
        ("enable_oauth2_proxy_auth", IDENTITY),
        ("enforce_user_param", LATER),
        ("enforced_params", LATER),
        ("fail_closed_budget_enforcement", LIMIT),
        ("fail_closed_rate_limit_enforcement", LIMIT),
        ("global_max_parallel_requests", LIMIT),
        ("key_management_settings", SECRET_STORE),
        ("key_management_system", SECRET_STORE),
        ("max_parallel_requests", LIMIT),
        ("max_response_size_mb", LIMIT),
        ("oauth2_config_mappings", IDENTITY),
        ("reject_clientside_metadata_tags", LATER),
        ("service_account_settings", LATER),
        ("use_azure_key_vault", SECRET_STORE),
        ("use_google_kms", SECRET_STORE),
    ],
    open: false,
};

const NO_FALLBACK: &str =
    "a model that fails is not replaced by another; deployments under the same model_name stand in for each other";

/// `litellm_settings`: LiteLLM takes every variable of its module here.
pub(super) const LITELLM: Known = Known {
    ignored: "add_function_to_prompt add_user_information_to_llm_headers aiohttp_trust_env allow_dynamic_callback_disabling \
              anthropic_beta_headers_url anthropic_prompt_caching_ttl argilla_batch_size argilla_transformation_object \
              audit_log_callbacks aws_sqs_callback_params blog_posts_url budget_exceeded_status_code \
              budget_exceeded_throttle_percentage cache cache_params caching caching_groups caching_with_models \
              callback_settings check_provider_endpoint client_side_fallbacks configured_cold_storage_logger cost_discount_config \
              cost_margin_config custom_prometheus_metadata_labels custom_prometheus_tags custom_prompt_dict \
              custom_provider_map datadog_llm_observability_params datadog_params datadog_use_v1 \
              default_in_memory_ttl default_internal_user_params default_key_max_budget_alert_emails \
              default_max_internal_user_budget default_redis_batch_cache_expiry default_redis_ttl default_soft_budget \
              default_team_params default_team_settings disable_add_prefix_to_prompt \
              disable_add_transform_inline_image_block disable_add_user_agent_to_request_tags disable_aiohttp_transport \
              disable_aiohttp_trust_env disable_anthropic_gemini_context_caching_transform \
              disable_copilot_system_to_assistant disable_end_user_cost_tracking \
              disable_end_user_cost_tracking_prometheus_only disable_fallbacks disable_hf_tokenizer_download \
              disable_no_log_param disable_stop_sequence_limit disable_streaming_logging disable_token_counter \
              disable_vertex_batch_output_transformation drop_params dynamodb_table_name email \
              enable_anthropic_prompt_caching enable_azure_ad_token_refresh \
              enable_caching_on_provider_specific_optional_params enable_end_user_cost_tracking_prometheus_only \
              enable_gemini_default_thinking_level_low enable_json_schema_validation enable_key_alias_format_validation \
              enable_loadbalancing_on_batch_endpoints enable_preview_features \
              enable_redis_auth_cache expose_router_debug_in_errors extra_spend_tag_headers failure_callback \
              filter_invalid_headers force_ipv4 force_router forward_traceparent_to_llm_provider gcs_pub_sub_use_v1 \
              gemini_live_defer_setup generic_api_use_v1 generic_logger_headers global_disable_no_log_param \
              global_prompt_directory include_cost_in_streaming_usage input_callback internal_user_budget_duration \
              key_alias_pattern langfuse_default_tags LITELLM_DISABLE_STOP_SEQUENCE_LIMIT log_auth_failure_key_identity \
              log_client_error_tracebacks log_raw_request_response logging max_fallbacks \
              max_internal_user_budget max_tokens max_ui_session_budget mcp_aliases mcp_client_timeout \
              model_alias_map model_cost_map_url model_fallbacks modify_params network_mock \
              newrelic_params num_retries_per_request output_parse_pii overwrite_user_with_key_hash post_call_rules \
              pre_call_rules priority_reservation priority_reservation_settings prometheus_emit_rate_limit_labels \
              prometheus_emit_stream_label prometheus_end_user_metrics_cleanup_interval_seconds \
              prometheus_end_user_metrics_max_series_per_metric prometheus_end_user_metrics_ttl_seconds \
              prometheus_initialize_budget_metrics prometheus_metrics_config \
              prometheus_user_budget_label_include_email_alias prompt_name_config_map prompt_directory \
              public_agent_groups public_mcp_hub_strict_whitelist public_mcp_servers public_model_groups \
              public_model_groups_links reasoning_auto_summary redact_messages_in_exceptions redact_user_api_key_info \
              require_managed_files responses_api_deployment_check retry return_response_headers \
              route_all_chat_openai_to_responses s3_audit_callback_params s3_callback_params safe_memory_mode \
              service_callback service_callbacks set_verbose skip_system_message_in_guardrail \
              skip_tool_message_in_guardrail standard_logging_payload_excluded_fields store_audit_logs \
              stream_timeout strip_anthropic_total_tokens success_callback suppress_debug_info tag_budget_config telemetry \
              token_counter turn_off_message_logging use_aiohttp_transport use_chat_completions_url_for_anthropic_messages \
              use_client use_legacy_interactions_schema user_url_allowed_hosts user_url_validation \
              provider_url_destination_allowed_hosts project vertex_ai_safety_settings vertex_location vertex_project",
    unserved: &[
        ("content_policy_fallbacks", NO_FALLBACK),
        ("context_window_fallbacks", NO_FALLBACK),
        ("default_fallbacks", NO_FALLBACK),
        ("enable_model_config_credential_overrides", "keys and teams cannot bring their own provider credentials"),
        ("fallbacks", NO_FALLBACK),
        ("ssl_verify", "certificates of providers are always checked, against the system's roots"),
        ("ssl_ecdh_curve", "the TLS of upstream connections is not adjustable"),
        ("ssl_security_level", "the TLS of upstream connections is not adjustable"),
    ],
    refused: &[
        ("ai21_key", CREDENTIAL),
        ("anthropic_key", CREDENTIAL),
        ("api_base", "give api_base at each deployment"),
        ("api_key", CREDENTIAL),
        ("api_version", "give api_version at each deployment"),
        ("azure_key", CREDENTIAL),
        ("banned_keywords_list", CONTENT),
        ("blocked_user_list", LATER),
        ("budget_duration", LIMIT),
        ("cohere_key", CREDENTIAL),
        ("databricks_key", CREDENTIAL),
        ("google_moderation_confidence_threshold", CONTENT),
        ("groq_key", CREDENTIAL),
        ("guardrails", CONTENT),
        ("headers", "headers for providers are not added"),
        ("huggingface_key", CREDENTIAL),
        ("key_generation_settings", LATER),
        ("llamaguard_model_name", CONTENT),
        ("llamaguard_unsafe_content_categories", CONTENT),
        ("llm_guard_mode", CONTENT),
        ("max_budget", LIMIT),
        ("max_end_user_budget", LIMIT),
        ("max_end_user_budget_id", LIMIT),
        ("max_user_budget", LIMIT),
        ("ollama_key", CREDENTIAL),
        ("openai_key", CREDENTIAL),
        ("openai_like_key", CREDENTIAL),
        ("openai_moderations_model_name", CONTENT),
        ("openrouter_key", CREDENTIAL),
        ("organization", "give organization at each deployment"),
        ("presidio_ad_hoc_recognizers", CONTENT),
        ("proxy_auth", CREDENTIAL),
        ("replicate_key", CREDENTIAL),
        ("ssl_certificate", "client certificates for providers are not supported"),
        ("togetherai_api_key", CREDENTIAL),
        ("use_litellm_proxy", "requests go to the deployments of this file only"),
        ("validate_end_user_id_in_db", LATER),
        ("xai_key", CREDENTIAL),
    ],
    open: false,
};

/// `litellm_settings.model_group_settings`.
pub(super) const MODEL_GROUPS: Known = Known { ignored: "", unserved: &[], refused: &[], open: true };

/// `router_settings`.
pub(super) const ROUTER: Known = Known {
    ignored: "alerting_config allowed_fails_policy assistants_config cache_kwargs cache_responses caching_groups client_ttl \
              debug_level default_litellm_params default_max_parallel_requests default_priority \
              deployment_affinity_ttl_seconds enable_health_check_routing enable_pre_call_check enable_pre_call_checks \
              enable_weighted_failover health_check_ignore_transient_errors health_check_staleness_threshold \
              ignore_invalid_deployments max_fallbacks max_retries model_group_affinity_config model_group_retry_policy \
              polling_interval redis_db redis_host redis_password redis_port redis_ssl redis_url redis_username \
              retry_after retry_policy router_general_settings routing_groups routing_strategy routing_strategy_args \
              search_tools set_verbose stream_timeout tag_filtering_match_any \
              tag_routing_prefix weights",
    unserved: &[
        ("content_policy_fallbacks", NO_FALLBACK),
        ("context_window_fallbacks", NO_FALLBACK),
        ("default_fallbacks", NO_FALLBACK),
        ("fallbacks", NO_FALLBACK),
    ],
    refused: &[
        ("enable_tag_filtering", LATER),
        ("guardrail_list", CONTENT),
        ("optional_pre_call_checks", "these checks are not made by this version: remove the key to start without them"),
        ("provider_budget_config", LIMIT),
    ],
    open: false,
};

/// One entry of `model_list`.
pub(super) const DEPLOYMENT: Known = Known {
    ignored: "blocked_by description id rpm tpm",
    unserved: &[],
    refused: &[("blocked", "remove the entry instead")],
    open: false,
};

/// `litellm_params` of a deployment: anything else is a parameter for the provider.
pub(super) const PARAMS: Known = Known {
    ignored: "additional_drop_params allowed_openai_params base_model budget_duration cache_control_injection_points \
              cooldown_time drop_params frequency_penalty input_cost_per_second itpm keepalive_seconds \
              max_completion_tokens max_file_size_mb max_input_tokens max_output_tokens max_parallel_requests max_retries \
              max_tokens merge_reasoning_content_in_choices metadata mode mock_response modify_params n num_retries order \
              otpm output_cost_per_second presence_penalty provider_affinity_header \
              reasoning_effort region_name response_format rpm seed stop stream stream_options stream_timeout \
              supports_system_message tag_regex tags temperature thinking thinking_tokens tool_choice tools top_logprobs \
              top_p tpm use_chat_completions_api user vertex_location vertex_project",
    unserved: &[
        ("allow_client_keepalive_override", "no keep-alive events are added to streams"),
        ("ssl_verify", "certificates of providers are always checked, against the system's roots"),
    ],
    refused: &[
        ("aws_access_key_id", CREDENTIAL),
        ("aws_external_id", CREDENTIAL),
        ("aws_profile_name", CREDENTIAL),
        ("aws_role_name", CREDENTIAL),
        ("aws_secret_access_key", CREDENTIAL),
        ("aws_session_name", CREDENTIAL),
        ("aws_session_token", CREDENTIAL),
        ("aws_sts_endpoint", CREDENTIAL),
        ("aws_web_identity_token", CREDENTIAL),
        ("azure_ad_token", CREDENTIAL),
        ("azure_ad_token_provider", CREDENTIAL),
        ("azure_password", CREDENTIAL),
        ("azure_scope", CREDENTIAL),
        ("azure_username", CREDENTIAL),
        ("client_certificate", CREDENTIAL),
        ("client_id", CREDENTIAL),
        ("client_secret", CREDENTIAL),
        ("default_api_key_rpm_limit", LIMIT),
        ("default_api_key_tpm_limit", LIMIT),
        ("default_headers", "headers for providers are not added"),
        ("extra_headers", "headers for providers are not added"),
        ("headers", "headers for providers are not added"),
        ("litellm_credential_name", CREDENTIAL),
        ("max_budget", LIMIT),
        ("tenant_id", CREDENTIAL),
        ("use_litellm_proxy", "requests go to the deployments of this file only"),
        ("use_xai_oauth", CREDENTIAL),
        ("vertex_ai_credentials", CREDENTIAL),
        ("vertex_credentials", CREDENTIAL),
    ],
    open: true,
};

/// `model_info` of a deployment: LiteLLM stores anything here.
pub(super) const INFO: Known = Known {
    ignored: "allow_fail_open base_model cost_per_ptu_per_hour db_model description discoverable health_check_timeout id \
              input_cost_per_token_batches max_input_tokens max_output_tokens max_tokens mode \
              ptu_count supported_environments tier",
    unserved: &[],
    refused: &[
        ("access_windows", LATER),
        ("blocked", "remove the entry instead"),
        ("enable_tag_filtering", LATER),
        ("team_id", LATER),
        ("team_public_model_name", LATER),
    ],
    open: true,
};
