-- Assets name their environment as plans do: dev, staging or prod.

ALTER TABLE execution.assets ALTER COLUMN environment SET DEFAULT 'prod';
UPDATE execution.assets SET environment = 'prod' WHERE environment = 'production';
UPDATE execution.assets SET environment = 'dev' WHERE environment = 'development';
