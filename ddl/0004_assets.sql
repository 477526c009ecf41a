-- The inventory, written by the asset tools and by nothing else.

CREATE TABLE execution.assets (
    asset_id     bigserial   NOT NULL PRIMARY KEY,
    tenant       text        NOT NULL,
    hostname     text        NOT NULL,
    ip_address   text,
    asset_type   text        NOT NULL DEFAULT 'server',
    status       text        NOT NULL DEFAULT 'active',
    environment  text        NOT NULL DEFAULT 'production',
    location     text,
    owner        text,
    os_type      text,
    service_type text,
    tags         jsonb       NOT NULL DEFAULT '{}',
    metadata     jsonb       NOT NULL DEFAULT '{}',
    version      integer     NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant, hostname)
);
CREATE INDEX assets_by_tags ON execution.assets USING gin (tags);
CREATE INDEX assets_by_address ON execution.assets (tenant, ip_address);
CREATE INDEX assets_by_status ON execution.assets (tenant, environment, status);
