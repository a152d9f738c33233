//! `POST /user/update`.

use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::AdminState;
use crate::authenticate::Caller;
use crate::body::Fields;
use crate::document::{UpdateUserRequest, UpdatedUser};
use crate::keys::ATTEMPTS;
use crate::keys::fields::check;
use crate::problem::{FieldProblem, Problem};
use crate::store::StoreError;
use crate::timestamp::now;
use crate::users::fields::{UPDATE_USER_FIELDS, USER_FIELDS};
use crate::users::{apply, find, judge, record, shown};

/// Changes the fields of a user that are named, and leaves the others.
#[utoipa::path(post, path = "/user/update", tag = "users", request_body = UpdateUserRequest, responses(
    (status = 200, body = UpdatedUser, description = "The user as they are now"),
    (status = 404, description = "No such user")))]
pub(crate) async fn update_user(
    State(state): State<AdminState>,
    Extension(caller): Extension<Caller>,
    Fields(body): Fields,
) -> Result<Json<Value>, Problem> {
    let given = check(body, &[USER_FIELDS, UPDATE_USER_FIELDS]).map_err(Problem::Fields)?;
    judge(&given.fields, now())?;
    let missing = || Problem::field(FieldProblem::missing(&["body", "user_id"]));
    let user_id = given.text("user_id").ok_or_else(missing)?;
    for _ in 0..ATTEMPTS {
        let before = find(&state, user_id).await?;
        let now = now();
        let mut after = before.clone();
        apply(&mut after, &given.fields, now)?;
        after.updated_at = now;
        after.updated_by = Some(caller.user_id());
        let audit = record(&caller, "updated", Some(&before), Some(&after), now);
        match state.store.replace_user(after, audit).await {
            Err(StoreError::Conflict) => {}
            done => return Ok(Json(json!({ "user_id": user_id, "data": shown(&done?) }))),
        }
    }
    Err(Problem::contended("user_id"))
}
