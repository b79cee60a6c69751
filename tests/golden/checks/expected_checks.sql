-- main.customers:answers (warn)
SELECT * FROM "main"."customers" LIMIT 1;

-- main.customers:unique_id (error)
SELECT "id", count(*) AS "rows" FROM "main"."customers" WHERE "id" IS NOT NULL GROUP BY "id" HAVING count(*) > 1;

-- main.customers:relationships_country_crm_countries (error)
SELECT * FROM "main"."customers" WHERE "country" IS NOT NULL AND "country" NOT IN (SELECT "code" FROM "crm"."countries" WHERE "code" IS NOT NULL);

-- sales.orders:answers (error)
SELECT * FROM "sales"."orders" LIMIT 1;

-- sales.orders:row_count (error)
SELECT count(*) FROM "sales"."orders";

-- sales.orders:not_null_id_odd_column_email_ed40eb (error)
SELECT * FROM "sales"."orders" WHERE "id" IS NULL OR "odd ""column""" IS NULL OR "email" IS NULL;

-- sales.orders:unique_id_line (error)
SELECT "id", "line", count(*) AS "rows" FROM "sales"."orders" WHERE "id" IS NOT NULL AND "line" IS NOT NULL GROUP BY "id", "line" HAVING count(*) > 1;

-- sales.orders:accepted_values_status (warn)
SELECT * FROM "sales"."orders" WHERE "status" IS NOT NULL AND "status" NOT IN ('it''s', 'open');

-- sales.orders:accepted_values_size (error)
SELECT * FROM "sales"."orders" WHERE "size" IS NOT NULL AND "size" NOT IN (1, 2.5, true);

-- sales.orders:relationships_customer_customers (error)
SELECT * FROM "sales"."orders" WHERE "customer" IS NOT NULL AND "customer" NOT IN (SELECT "id" FROM "main"."customers" WHERE "id" IS NOT NULL);

-- sales.orders:relationships_parent_orders (error)
SELECT * FROM "sales"."orders" WHERE "parent" IS NOT NULL AND "parent" NOT IN (SELECT "id" FROM "sales"."orders" WHERE "id" IS NOT NULL);

-- sales.orders:expression_price_0_env_NAME_OF_USER_29a5e5 (error)
SELECT * FROM "sales"."orders" WHERE (price > 0 -- 'Ann'
) IS NOT TRUE;

-- sales.orders:known_user (error)
SELECT * FROM "sales"."orders" WHERE (seller <> 'O''Hara') IS NOT TRUE;

-- sales.orders:expression_EXISTS_FROM_read_csv_known_csv_k_WHERE_k_id_order_9e5075 (error)
SELECT * FROM "sales"."orders" WHERE (EXISTS (FROM read_csv('<folder>/known.csv') k WHERE k.id = orders.id)) IS NOT TRUE;

-- sales.orders:freshness_ordered_at (error)
SELECT epoch(max("ordered_at")), epoch(now()), epoch('2 days'::INTERVAL) FROM "sales"."orders";

-- sales.orders:schema (error)
DESCRIBE SELECT * FROM "sales"."orders";

-- sales.orders:sql_0f7600 (error)
SELECT * FROM orders JOIN customers ON customer = customers.id;

-- sales.orders:refunds (error)
-- A refund is not more than was paid.
SELECT * FROM '<folder>/queries/refunds.csv' JOIN sales.orders USING (id) WHERE amount > price;

