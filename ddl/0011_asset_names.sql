-- An executor looks up which assets have a name of a step, in any spelling, before it acts.

CREATE INDEX assets_by_folded_hostname
    ON execution.assets (tenant, (lower(rtrim(hostname, '.'))));
CREATE INDEX assets_by_folded_address
    ON execution.assets (tenant, (lower(ip_address)));
CREATE INDEX assets_by_connection_address
    ON execution.assets (tenant, (lower(rtrim(metadata #>> '{connection,address}', '.'))));
