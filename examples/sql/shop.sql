-- A small shop: sqlite3 shop.db < shop.sql
CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, joined TEXT NOT NULL);
CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price REAL NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers(id), ordered TEXT NOT NULL);
CREATE TABLE order_items (order_id INTEGER NOT NULL REFERENCES orders(id), product_id INTEGER NOT NULL REFERENCES products(id),
                          quantity INTEGER NOT NULL, PRIMARY KEY (order_id, product_id));
CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, salary REAL NOT NULL);

INSERT INTO customers VALUES (1, 'Ada', 'Berlin', '2024-01-09'), (2, 'Bela', 'Wien', '2024-03-17'), (3, 'Cem', 'Berlin', '2025-02-02'),
                             (4, 'Dana', 'Praha', '2025-06-30');
INSERT INTO products VALUES (1, 'Kettle', 'kitchen', 39.5), (2, 'Lamp', 'home', 24.0), (3, 'Rug', 'home', 120.0),
                            (4, 'Teapot', 'kitchen', 28.0), (5, 'Clock', 'home', 17.5);
INSERT INTO orders VALUES (1, 1, '2025-07-01'), (2, 1, '2025-08-12'), (3, 2, '2025-08-15'), (4, 3, '2025-09-01');
INSERT INTO order_items VALUES (1, 1, 1), (1, 2, 2), (2, 3, 1), (3, 4, 2), (3, 5, 1), (4, 2, 1);
INSERT INTO staff VALUES (1, 'Eve', 'manager', 5100), (2, 'Finn', 'clerk', 3200);
