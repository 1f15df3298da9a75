//! The tables' rows as sea-orm sees them. Private to this crate: the domain's types come out.

pub(crate) mod staff {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "staff")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub email: String,
        pub name: String,
        pub role: String,
        pub password_hash: String,
        pub disabled: bool,
        pub failed_logins: i64,
        pub locked_until: i64,
        pub created_at: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod broadcast {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "broadcast")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub nature: String,
        pub state: String,
        pub author_id: i64,
        pub subject: String,
        pub body: String,
        pub audience: String,
        pub questionnaire_id: Option<i64>,
        pub answers_to: Option<i64>,
        pub finish_by: Option<i64>,
        pub terms: String,
        pub digest: Option<String>,
        pub recipients: i64,
        pub held: i64,
        pub findings: String,
        pub signatures_required: i64,
        pub idempotency_key: String,
        pub created_at: i64,
        pub frozen_at: Option<i64>,
        pub released_at: Option<i64>,
        pub stopped_at: Option<i64>,
        pub completed_at: Option<i64>,
        pub comparison: Option<String>,
        pub registry_revision: Option<i64>,
        pub opens_at: i64,
        pub copies_until: i64,
        pub canary_rows: i64,
        pub canary_last: i64,
        pub canary_until: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[expect(unreachable_pub, reason = "sea-orm's derive writes public items")]
pub(crate) mod delivery {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "delivery")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub broadcast_id: i64,
        pub member_id: i64,
        pub member_no: String,
        pub address: String,
        pub prefecture: Option<i64>,
        pub fields: String,
        pub message_id: String,
        pub state: String,
        pub held_reason: Option<String>,
        pub attempts: i64,
        pub due_at: i64,
        pub lease_id: i64,
        pub lease_until: i64,
        pub smtp_code: Option<i64>,
        pub enhanced_code: Option<String>,
        pub reply: Option<String>,
        pub relay: Option<String>,
        pub submitted_at: Option<i64>,
        pub settled_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod exercise {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "exercise")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub title: String,
        pub nature: String,
        pub state: String,
        pub author_id: i64,
        pub idempotency_key: String,
        pub created_at: i64,
        pub started_at: Option<i64>,
        pub ended_at: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod inject {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "inject")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub exercise_id: i64,
        pub inject_key: String,
        pub seq: i64,
        pub title: String,
        pub offset_ms: i64,
        pub grace_ms: i64,
        pub subject: String,
        pub body: String,
        pub audience: String,
        pub questionnaire_id: Option<i64>,
        pub state: String,
        pub broadcast_id: Option<i64>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
